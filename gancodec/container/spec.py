"""Every magic, id and limit of the .gic format: the one page. `docs/format.md` tells the same and a test compares
them."""

from __future__ import annotations

from typing import Final, NamedTuple

MAGIC: Final = b"\x89GIC\r\n\x1a\n"  # high bit and line ends expose text-mode damage
MAJOR: Final = 1  # a higher one is refused
MINOR: Final = 0  # a higher one is read
MIME: Final = "image/x-gic"
SUFFIX: Final = ".gic"

MAX_SIDE: Final = 1 << 20
MAX_PIXELS: Final = 1 << 28  # default; refused before any allocation
MAX_VARINT: Final = (1 << 32) - 1

CODEC_GIC1: Final = 0
CODEC_SPLIT: Final = 1
CODEC_WU2019: Final = 2
CODEC_GIC2: Final = 6
CODER_RANGE: Final = 0
CODER_HUFFMAN: Final = 1
CODER_WEBP: Final = 2
CODER_WEBP_LOSSLESS: Final = 3
ENTROPY_CODERS: Final = {"range": CODER_RANGE, "huffman": CODER_HUFFMAN}  # of the learned codecs
CODERS: Final = ENTROPY_CODERS | {"webp": CODER_WEBP, "webp-lossless": CODER_WEBP_LOSSLESS}
FLAG_SYNTHETIC: Final = 1  # decoded detail may be synthesised
FLAG_GRAY: Final = 2  # decoded pixels are the luma of what the networks make
FLAGS_KNOWN: Final = FLAG_SYNTHETIC | FLAG_GRAY
MAX_LEVEL_SHIFT: Final = 15
TILE_SIDES: Final = (256, 512, 1024, 2048, 4096)  # pixels; the file has their logarithm to base 2


ANCILLARY: Final = 0x80  # bit of a chunk type: unknown ones are skipped where set, refused where clear
END: Final = 0x00
IMAGE: Final = 0x01
ALPHA: Final = 0x02
TILES: Final = 0x03
MORE: Final = 0x04
ICC: Final = 0x83
EXIF: Final = 0x84
XMP: Final = 0x85
CHUNK_NAMES: Final = {
    END: "END",
    IMAGE: "IMAGE",
    ALPHA: "ALPHA",
    TILES: "TILES",
    MORE: "MORE",
    ICC: "ICC",
    EXIF: "EXIF",
    XMP: "XMP",
}
# As chunks are written. Those up to IMAGE, and MORE, must be read so; the others come in any order.
ORDER: Final = (TILES, IMAGE, MORE, ALPHA, ICC, EXIF, XMP, END)
SLICED_ORDER: Final = (TILES, ICC, IMAGE, MORE, ALPHA, EXIF, XMP, END)  # a file that is cut has its colours


class CodecRules(NamedTuple):
    """What the files of a codec may say.

    coders : ids; zero : header fields that must be 0, as the codec has `none` of what they tell; tile_sides : of a
    TILES chunk, none where there must not be one; slices : the most that a stream has, one in IMAGE and each other in
    a MORE. Files of a codec with several may be cut behind any of them.
    """

    coders: tuple[int, ...]
    zero: tuple[str, ...] = ()
    none: str = ""
    tile_sides: tuple[int, ...] = TILE_SIDES
    slices: int = 1

    @property
    def order(self) -> tuple[int, ...]:
        """Types of chunks in the order that they are written in."""
        return SLICED_ORDER if self.slices > 1 else ORDER


CODECS: Final = {
    CODEC_GIC1: CodecRules((CODER_RANGE, CODER_HUFFMAN)),
    CODEC_SPLIT: CodecRules(
        (CODER_WEBP, CODER_WEBP_LOSSLESS), ("model", "model_hash", "flags", "n", "level_shift"), "model", tile_sides=()
    ),
    CODEC_WU2019: CodecRules((CODER_RANGE, CODER_HUFFMAN), ("level_shift",), "levels"),
    CODEC_GIC2: CodecRules((CODER_RANGE, CODER_HUFFMAN), slices=8),
}


def rules_of(codec: int) -> CodecRules:
    """The rules of a codec; those of most for one that this build does not know."""
    return CODECS.get(codec, CodecRules(()))


MAX_STREAM_PIXELS: Final = 1 << 24  # padded: the most that one stream of a codec with tiles codes

MAX_METADATA: Final = 1 << 22  # inflated bytes of ICC, EXIF, XMP each
MAX_UNKNOWN_CHUNKS: Final = 64  # in a file
MAX_UNKNOWN_BYTES: Final = 1 << 24  # of data in all of them together
IMAGE_BASE, IMAGE_PER_PIXEL = 64, 8  # IMAGE and MORE are at most this many bytes, and this many more per padded pixel

CELL: Final = 16  # pixels a side of what the split codec keeps or shrinks as a whole
FACTORS: Final = (2, 4, 8, 16)  # that it shrinks by; the file has their logarithm to base 2
