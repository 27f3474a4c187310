"""Pillow plugin: `register`, and ``Image.open`` and ``image.save`` know .gic files.

>>> from PIL import Image
>>> from gancodec import pillow_plugin
>>> pillow_plugin.register()
>>> Image.open("photo.png").save("photo.gic", bpp=0.1)  # doctest: +SKIP
>>> image = Image.open("photo.gic")                     # doctest: +SKIP

Opening reads header and metadata; PyTorch and the model wait until pixels are asked for.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import fields, replace
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image, ImageFile, UnidentifiedImageError

from gancodec import exif
from gancodec.container import read as read_container
from gancodec.container import spec
from gancodec.container.peek import peek_header, peek_metadata
from gancodec.errors import GicError, UsageError
from gancodec.formats.modes import shown_mode
from gancodec.options import DecodeOptions, EncodeOptions

if TYPE_CHECKING:
    from gancodec.types import Picture

FORMAT = "GIC"


def register() -> None:
    """Teach Pillow the format "GIC": opening, saving, the suffix .gic and the MIME type. Calling it again changes
    nothing."""
    Image.register_open(FORMAT, GicImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_save_all(FORMAT, _save_all)
    Image.register_extension(FORMAT, spec.SUFFIX)
    Image.register_mime(FORMAT, spec.MIME)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(spec.MAGIC)


class GicImageFile(ImageFile.ImageFile):
    """A .gic file that is open, mode RGB or RGBA, or L or LA where the source was gray, upright.

    `info` has ``icc_profile``, ``exif``, ``xmp`` and ``dpi`` where the file has them, and ``gancodec``: a dict with
    ``model`` (its number, 0 for the split codec), ``n`` and ``synthetic_detail``. With pixels decoded at a realism
    above 0, and with the wu2019 models, ``comment`` says so.
    """

    format = FORMAT
    format_description = "gancodec image"
    _start = 0  # of the file in its stream
    _pending = False  # pixels are in the file still
    _sliced = False  # a codec whose files may be cut
    _decode_options: DecodeOptions | None = None
    _whole = (0, 0)  # width and height of the picture in the file
    _reduce = 1  # pixels a side that `draft` makes one of

    def _open(self) -> None:
        """Read header and metadata; UnidentifiedImageError, which is an OSError, with what is wrong."""
        assert self.fp is not None
        stream = cast(BinaryIO, self.fp)
        self._start = stream.tell()
        if not _accept(stream.read(len(spec.MAGIC))):
            raise SyntaxError("not a .gic file")
        stream.seek(self._start)
        try:
            header, length = peek_header(stream)
            _refuse_bomb(header.width, header.height)
            self._sliced = spec.rules_of(header.codec).slices > 1
            metadata = peek_metadata(stream, self._start + length, header, self._partial)
        except GicError as error:  # Pillow would drop the words of a SyntaxError
            raise UnidentifiedImageError(f"damaged or unsupported .gic file: {error}") from error
        self._size = self._whole = header.width, header.height
        self._mode = shown_mode(bool(header.flags & spec.FLAG_GRAY), metadata.alpha, metadata.icc)
        self._pending = True
        info = {
            "icc_profile": metadata.icc,
            "exif": metadata.exif,
            "xmp": metadata.xmp,
            "dpi": exif.dpi_of(metadata.exif),
        }
        self.info.update({key: value for key, value in info.items() if value})
        self.info["gancodec"] = {
            "model": header.model,
            "n": header.n / 1000,
            "synthetic_detail": bool(header.flags & spec.FLAG_SYNTHETIC),
        }

    @property
    def _partial(self) -> bool:
        """May the file be cut? Pillow's switch says so, for codecs that know how to decode one."""
        return ImageFile.LOAD_TRUNCATED_IMAGES and self._sliced

    @property
    def decode_options(self) -> DecodeOptions | None:
        """How to decode, realism above all; defaults where None. To be set before pixels are first asked for,
        ValueError afterwards."""
        return self._decode_options

    @decode_options.setter
    def decode_options(self, options: DecodeOptions | None) -> None:
        if not self._pending:
            raise ValueError("the picture is decoded already: open it again to decode it otherwise")
        self._size, self._reduce = self._shown(options), 1
        self._decode_options = options

    def _shown(self, options: DecodeOptions | None) -> tuple[int, int]:
        """Size of the picture that `options` ask for; ValueError for a region outside of it."""
        if options is None:
            return self._whole
        from gancodec.codec.api import view_of
        from gancodec.types import Geometry

        try:
            cells = view_of(options, Geometry(*self._whole)).cells
        except UsageError as error:
            raise ValueError(str(error)) from error
        return cells.right - cells.left, cells.bottom - cells.top

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Have the picture decoded at 1/2, 1/4 or 1/8, the least that is not smaller than `size`, as ``thumbnail`` asks
        before it reduces the rest; modes are left as they are. None where nothing changes."""
        asked = self._decode_options
        if not self._pending or size is None or self._reduce != 1 or (asked and (asked.region or asked.reduce != 1)):
            return None
        fitting = [step for step in (2, 4, 8) if self.width // step >= size[0] and self.height // step >= size[1]]
        if not fitting:
            return None
        width, height, self._reduce = self.width, self.height, max(fitting)
        self._size = -(-width // self._reduce), -(-height // self._reduce)
        return self.mode, (0, 0, width / self._reduce, height / self._reduce)

    def verify(self) -> None:
        """Check structure and every checksum without decoding, and close the file; OSError where it is damaged."""
        try:
            read_container(self._read(), max_pixels=self._whole[0] * self._whole[1])  # which `_open` has checked
        except GicError as error:
            raise OSError(str(error)) from error
        super().verify()

    def load(self) -> Any:
        """Decode the pixels, once.

        Raises OSError for a damaged file or a missing model, and ValueError for decode options that cannot be met or a
        file that is closed. Under ImageFile.LOAD_TRUNCATED_IMAGES what is whole of a file with slices that is cut is
        decoded, and a UserWarning tells what is missing.
        """
        if self._pending:
            from gancodec import imageio
            from gancodec.codec import api

            data, options = self._read(), self._decode_options or DecodeOptions()
            if self._reduce != 1:
                options = replace(options, reduce=self._reduce)
            if self._partial:
                options = replace(options, partial=True)
            try:
                picture = api.decode_bytes(data, options)
                image = imageio.to_image(picture)
            except UsageError as error:
                raise ValueError(str(error)) from error
            except GicError as error:
                raise OSError(str(error)) from error
            if (image.size, image.mode) != (self.size, self.mode):
                raise OSError("the file has changed since it was opened")
            self.im, self.readonly = image.im, image.readonly
            if "comment" in image.info:
                self.info["comment"] = image.info["comment"]
            self._pending = False
            if self._exclusive_fp and self.fp is not None:
                self.fp.close()
            self.fp = None
            for line in picture.notices:
                warnings.warn(line, stacklevel=2)
        return super().load()

    def _read(self) -> bytes:
        if self.fp is None:
            raise ValueError("Operation on closed image")  # as Pillow words it
        self.fp.seek(self._start)
        return self.fp.read()


def _refuse_bomb(width: int, height: int) -> None:
    """Pillow's own limit, which `Image.open` asks for only once metadata is inflated."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(
            f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels, could be decompression bomb "
            "DOS attack."
        )


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Encode for ``image.save``; see docs/pillow.md for its keywords. ValueError for what options rule out, OSError for
    a missing model or package and for a size that `strict` asks for in vain."""
    from gancodec.codec import api
    from gancodec.codec.options import settled

    given = image.encoderinfo
    names = {field.name for field in fields(EncodeOptions)}
    try:
        asked = EncodeOptions(**{key: value for key, value in given.items() if key in names})
        options = settled(asked, EncodeOptions)
        picture = _picture(image, given, options.max_pixels)
        coded = api.encode_picture(picture, options)
    except UsageError as error:
        raise ValueError(str(error)) from error
    except GicError as error:
        raise OSError(str(error)) from error
    missed = () if coded.hit else (api.describe_miss(coded, options),)
    for line in (*coded.notices, *missed):
        warnings.warn(line, stacklevel=3)  # whoever called image.save
    file.write(coded.data)


def _save_all(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """`_save` for what has one frame; ValueError for more."""
    frames = sum(getattr(frame, "n_frames", 1) for frame in (image, *image.encoderinfo.get("append_images", ())))
    if frames > 1:
        raise ValueError(f"a .gic file holds one picture, not {frames}: leave out save_all and append_images")
    _save(image, file, filename)


def _picture(image: Image.Image, given: dict[str, Any], max_pixels: int) -> Picture:
    """The frame that `image` shows, with the metadata of `given`, or else its own.

    Metadata given as None or empty is dropped, but what its own EXIF says of its orientation is done.
    """
    from gancodec import imageio

    facts = imageio.facts_of(image) if getattr(image, "tell", int)() == 0 else None
    if facts is not None and facts.format == "TIFF":
        facts = replace(facts, orientation=1)  # Pillow turns these itself
    if facts is not None:  # what is given counts, not what the file has
        icc, block, xmp = (
            None if key in given else value
            for key, value in (("icc_profile", facts.icc), ("exif", facts.exif), ("xmp", facts.xmp))
        )
        facts = replace(facts, icc=icc, exif=block, xmp=xmp)
    source, notices = image.copy(), list[str]()
    if image.format == "TIFF":
        source.info["exif"] = imageio.tiff_exif(image, notices)
    block, xmp = given.get("exif"), given.get("xmp")
    metadata = {
        "icc_profile": given.get("icc_profile"),
        "exif": block.tobytes() if isinstance(block, Image.Exif) else block,
        "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
    }
    source.info.update({key: value for key, value in metadata.items() if value})
    dropped = {key for key, value in metadata.items() if key in given and not value}
    if "icc_profile" in dropped:
        source.info.pop("icc_profile", None)
    if metadata["xmp"]:
        source.info.pop("XML:com.adobe.xmp", None)  # PNG's second name of it, which Pillow asks first
    picture = imageio.from_image(source, max_pixels, facts)
    kept, xmp = (None if key in dropped else getattr(picture, key) for key in ("exif", "xmp"))
    dpi = _dpi_to_write(image, given)
    if dpi is not None and not _same(dpi, exif.dpi_of(kept)):
        kept = exif.with_dpi(kept, dpi)
    return replace(picture, exif=kept, xmp=xmp, notices=(*notices, *picture.notices))


def _dpi_to_write(image: Image.Image, given: dict[str, Any]) -> tuple[float, float] | None:
    """Dots per inch that were asked for, or that the image has where no EXIF was given."""
    if given.get("dpi") is not None:
        dpi = exif.valid_dpi(given["dpi"])
        if dpi is None:
            raise ValueError(f"dpi = {given['dpi']!r}: must be two numbers above 0 and below {exif.MOST_DPI}")
        return dpi
    dpi = None if {"exif", "dpi"} & set(given) else exif.valid_dpi(image.info.get("dpi"))
    return None if dpi == (1, 1) else dpi  # what Pillow tells of TIFF files that say nothing


def _same(dpi: tuple[float, float], other: tuple[float, float] | None) -> bool:
    """Are they the same but for the rounding of other formats? PNG counts pixels per metre."""
    return other is not None and all(math.isclose(*pair, rel_tol=1e-3) for pair in zip(dpi, other, strict=True))
