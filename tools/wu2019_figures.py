"""The source paper's figure 7 for wu2019: MS-SSIM against bits per pixel of the whole model and without each of its
parts, and the tunable model beside one that is trained at a single n.

    for r in wu2019-small wu2019-small-no-gan wu2019-small-no-masker wu2019-small-fixed wu2019-small-strong-gan; do
        gancodec train $r --data train --out runs/$r --steps 6000
    done
    python tools/wu2019_figures.py runs --data train --kodak kodak --out docs/results

Every rate is that of real bytes, which are read again. Without the masker all sites have one depth, told once, so no
termination codes are needed, and tables are fitted for each depth apart, which is more than the whole model has.
Without entropy coding a value takes 2 bits, and a site's depth 4 where there is a masker.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from ablation import extra, run_codec
from numpy.typing import NDArray

from gancodec import container, imageio, metrics
from gancodec.codec.api import decode_with, encode_with
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.evaluate.curves import Curve, at_rate, curve_of
from gancodec.evaluate.metrics.quality import decibel
from gancodec.evaluate.report import plots
from gancodec.models.wu2019.codec import Wu2019Codec
from gancodec.models.wu2019.symbols import PlaneModel, Symbols, walk
from gancodec.models.wu2019.training import plane_tables
from gancodec.options import EncodeOptions
from gancodec.train.data import Crops
from gancodec.train.freeze import HistogramCoder
from gancodec.train.recipes import RECIPES
from gancodec.train.state import checkpoint_meta
from gancodec.types import Picture

WHOLE, NO_GAN, NO_MASKER = "wu2019-small", "wu2019-small-no-gan", "wu2019-small-no-masker"
FIXED, STRONG = "wu2019-small-fixed", "wu2019-small-strong-gan"
NS = (3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.32, -2.0, -3.0)
DEPTHS = (2, 3, 4, 5, 6, 8, 10, 12, 14, 15)  # those that n in [-2, 2] gives where all sites are alike
TABLES_FROM = 32  # training pictures
CHANNELS, VALUE_BITS, DEPTH_BITS = 16, 2, 4
# Bytes of a file, and the symbols in it, to the bytes that it would have otherwise.
Size = Callable[[int, int, Symbols], int]


def measure(
    name: str,
    codec: Wu2019Codec,
    pictures: Sequence[NDArray[np.uint8]],
    ns: Sequence[float],
    sizes: dict[str, Size],
) -> dict[str, Curve]:
    """Mean rate and quality over pictures at each n: of the files, by `name`, and at other `sizes`, by theirs."""
    points: dict[str, list[tuple[float, dict[str, float]]]] = {label: [] for label in (name, *sizes)}
    for n in ns:
        bpp: dict[str, list[float]] = {label: [] for label in points}
        quality = []
        for rgb in pictures:
            coded = encode_with(codec, Picture(rgb), EncodeOptions(n=n))
            parsed = container.read(coded.data)
            symbols = codec.symbols(parsed)
            decoded = decode_with(parsed, codec).rgb
            quality.append((metrics.ms_ssim(decoded, rgb), metrics.psnr(decoded, rgb)))
            bpp[name].append(coded.bpp)
            for label, size in sizes.items():
                bytes_ = size(len(coded.data), len(parsed.image), symbols)
                bpp[label].append(8 * bytes_ / (rgb.shape[0] * rgb.shape[1]))
        similarity, psnr = (float(v) for v in np.mean(quality, axis=0))
        figures = {"ms-ssim": similarity, "ms-ssim-db": decibel(similarity), "psnr": psnr}
        for label, rates in bpp.items():
            points[label].append((float(np.mean(rates)), figures))
        print(f"{name} n={n:g}: {np.mean(bpp[name]):.4f} bpp, MS-SSIM {similarity:.4f}, PSNR {psnr:.2f}", flush=True)
    return {label: curve_of(label, "setting", found) for label, found in points.items()}


def packed(depth: NDArray[np.int32], z: NDArray[np.int32], masker: bool) -> bytes:
    """Depths and values as they are, without entropy coding; checked by unpacking."""
    on = np.arange(CHANNELS)[:, None, None] < depth
    bits = [_bits(depth.ravel() - 1, DEPTH_BITS)] if masker else []
    data = np.packbits(np.concatenate([*bits, _bits(z[on], VALUE_BITS)])).tobytes()
    stream = np.unpackbits(np.frombuffer(data, np.uint8))
    if masker:
        head = DEPTH_BITS * depth.size
        assert (_numbers(stream[:head], DEPTH_BITS) + 1 == depth.ravel()).all()
        stream = stream[head:]
    assert (_numbers(stream[: VALUE_BITS * on.sum()], VALUE_BITS) == z[on]).all()
    return data


def _bits(values: NDArray[np.int32], count: int) -> NDArray[np.uint8]:
    return (values[:, None] >> np.arange(count - 1, -1, -1) & 1).astype(np.uint8).ravel()


def _numbers(bits: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    return bits.reshape(-1, count).astype(np.int64) @ (1 << np.arange(count - 1, -1, -1))


def plain_size(masker: bool) -> Size:
    """Bytes of a file whose IMAGE chunk is packed without entropy coding."""
    return lambda file, image, symbols: file - image + len(packed(symbols.depth, symbols.z, masker))


def huffman_size(codec: Wu2019Codec) -> Size:
    """Bytes of a file with the Huffman coder; checked by reading."""

    def size(file: int, image: int, symbols: Symbols) -> int:
        planes = symbols
        writer = HuffmanWriter(codec.entropy.tables)
        walk(writer, codec.entropy, planes.depth.shape, False, planes)
        data = writer.finish()
        reader = HuffmanReader(codec.entropy.tables, data)
        assert np.array_equal(walk(reader, codec.entropy, planes.depth.shape, False, None).z, planes.z)
        reader.finish()
        return file - image + len(data)

    return size


def even_size(codec: Wu2019Codec, pictures: Sequence[NDArray[np.uint8]]) -> Size:
    """Bytes of a file whose sites all have the depth of the first, with range-coder tables for that depth alone."""
    analyses = [codec.analyse(rgb) for rgb in pictures]
    models: dict[int, PlaneModel] = {}

    def model_for(depth: int) -> PlaneModel:
        if depth not in models:
            plain = PlaneModel(plane_tables(depth))
            counter = HistogramCoder(plain.tables.radius.tolist())
            for analysis in analyses:
                walk(counter, plain, analysis.omega.shape[1:], True, _even(np.rint(analysis.omega), depth))
            models[depth] = PlaneModel(plane_tables(depth, counter.histograms))
        return models[depth]

    def size(file: int, image: int, symbols: Symbols) -> int:
        depth = int(symbols.depth.flat[0])
        assert (symbols.depth == depth).all(), "every site has the same depth"
        model, planes = model_for(depth), _even(symbols.z, depth)
        writer = RangeWriter(model.tables)
        walk(writer, model, planes.depth.shape, True, planes)
        data = writer.finish()
        reader = RangeReader(model.tables, data)
        assert np.array_equal(walk(reader, model, planes.depth.shape, True, None).z, planes.z)
        reader.finish()
        return file - image + len(data)

    return size


def _even(z: NDArray[np.floating] | NDArray[np.int32], depth: int) -> Symbols:
    return Symbols(np.full(z.shape[1:], depth, np.int32), z[:depth].astype(np.int32))


def extra_at(whole: Curve, without: Curve, similarity: float) -> str:
    """Extra rate of `without` at one MS-SSIM, in percent; log rate is linear in dB in between."""
    rates = []
    for curve in (whole, without):
        values = curve.figures["ms-ssim-db"]
        if not min(values) <= decibel(similarity) <= max(values):
            return f"{curve.name} does not reach it"
        order = np.argsort(values)
        rates.append(np.interp(decibel(similarity), np.array(values)[order], np.log(np.array(curve.bpp)[order])))
    return f"{100 * (math.exp(rates[1] - rates[0]) - 1):+.1f} %"


def rows() -> list[tuple[str, str, str, str]]:
    """Curve, label, recipe of its run, and the paper's extra rate at MS-SSIM 0.96."""
    return [
        ("full", "(1) full, range coder", WHOLE, "–"),
        ("without GAN", "(2) without GAN", NO_GAN, "+15.8 %"),
        ("without masker", "(3) without masker", NO_MASKER, "+89.3 %"),
        ("without entropy coding", "(4) without entropy coding", WHOLE, "+31.6 % (Huffman)"),
        ("without both", "(5) without masker and entropy coding", NO_MASKER, "+116.3 %"),
        ("Huffman", "(1) with the Huffman coder", WHOLE, "–"),
        ("stronger GAN", "(1) with kappa for pixels in [-1, 1]", STRONG, "–"),
        ("not tunable", "(1) trained at n = 0 alone", FIXED, "–"),
    ]


def table(found: dict[str, Curve], level: float, runs: Path, held_out: Sequence[str], command: str) -> str:
    """Markdown of the results."""
    lines = [
        "# wu2019: the paper's ablations",
        "",
        "MS-SSIM against bits per pixel on Kodak (real bytes, one n for all pictures) of the model of Wu, Huang and",
        "Shen and without a part of it, after the paper's figure 7. The runs have a quarter of the paper's filters and",
        "one length: they rank the parts, and are not what the paper's training would reach",
        "([../papers/wu2019.md](../papers/wu2019.md)). Made by `tools/wu2019_figures.py`:",
        "",
        "```",
        command,
        "```",
        "",
        f"| model | steps | seconds | extra rate, mean | extra rate at MS-SSIM {level:g} | the paper's, at 0.96 |",
        "|---|---|---|---|---|---|",
    ]
    for name, label, recipe, papers in rows():
        meta = checkpoint_meta(runs / recipe / "last.safetensors")
        full, other = found["full"], found[name]
        cells = ["–", "–"] if other is full else ["below", "below"]
        if len(other.bpp) > 1 and other is not full:
            cells = [extra(full, other), extra_at(full, other, level)]
        lines.append(f"| {label} | {meta['step']} | {float(meta['seconds']):.0f} | {' | '.join(cells)} | {papers} |")
    lines += ["", "Mean: Bjontegaard, MS-SSIM in dB, over the range that both curves cover.", "", *held_out, ""]
    lines += [
        "![MS-SSIM in dB against bits per pixel](wu2019-ablation.svg)",
        "",
        "| curve | bpp: MS-SSIM, PSNR |",
        "|---|---|",
    ]
    for curve in found.values():
        cells = [
            f"{b:.3f}: {q:.4f}, {p:.2f}"
            for b, q, p in zip(curve.bpp, curve.figures["ms-ssim"], curve.figures["psnr"], strict=True)
        ]
        lines.append(f"| {curve.name} | " + "; ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def beside(full: Curve, huffman: Curve, plain: Curve, fixed: Curve) -> list[str]:
    """What the table's rows do not say: the paper's (4) is against Huffman, and its other model is not tunable."""
    bpp, similarity, psnr = fixed.bpp[0], fixed.figures["ms-ssim"][0], fixed.figures["psnr"][0]
    here = [at_rate(full, metric, bpp) for metric in ("ms-ssim", "psnr")]
    found = "–, –" if None in here else f"{here[0]:.4f} and {here[1]:.2f}"
    return [
        f"**Without entropy coding against the Huffman coder**: {extra(huffman, plain)}.",
        "",
        f"**Tunable and not**: the model trained at n = 0 alone has MS-SSIM {similarity:.4f} and PSNR {psnr:.2f} "
        f"there, at {bpp:.3f} bpp; the tunable one {found} at that rate. Extra rate of the tunable one at equal "
        f"MS-SSIM: {extra_at(fixed, full, similarity)} (from the paper's 30.1 and 39.3 %: +15.2 %).",
    ]


def main() -> None:
    """Measure, tabulate, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder with one folder for each recipe")
    parser.add_argument("--data", type=Path, required=True, help="training pictures, for the tables")
    parser.add_argument("--kodak", type=Path, required=True, help="test pictures")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--level", type=float, default=0.9, help="MS-SSIM at which rates are compared")
    options = parser.parse_args()
    torch.set_num_threads(2)
    pictures = [imageio.load(p).rgb for p in sorted(options.kodak.glob("*.png"))]
    crops = Crops(options.data, RECIPES[WHOLE].crop, torch.device("cpu"))
    codecs = {recipe: run_codec(options.runs, recipe, crops) for recipe in (WHOLE, NO_GAN, NO_MASKER, FIXED, STRONG)}
    some = crops.pictures[:: max(1, len(crops.pictures) // TABLES_FROM)][:TABLES_FROM]
    chosen = [np.ascontiguousarray(p.permute(1, 2, 0).numpy()) for p in some]
    even_ns = [-math.log((d - 0.5) / (CHANNELS - d + 0.5)) for d in DEPTHS]
    whole, masked = codecs[WHOLE], codecs[NO_MASKER]
    assert isinstance(whole, Wu2019Codec)
    assert isinstance(masked, Wu2019Codec)
    sizes = {"Huffman": huffman_size(whole), "without entropy coding": plain_size(True)}
    found = measure("full", whole, pictures, NS, sizes)
    sizes = {"without masker": even_size(masked, chosen), "without both": plain_size(False)}
    found |= {k: v for k, v in measure("-", masked, pictures, even_ns, sizes).items() if k != "-"}
    for label, recipe, ns in (
        ("without GAN", NO_GAN, NS),
        ("stronger GAN", STRONG, NS),
        ("not tunable", FIXED, (0.0,)),
    ):
        codec = codecs[recipe]
        assert isinstance(codec, Wu2019Codec)
        found |= measure(label, codec, pictures, ns, {})
    words = f"--data train --kodak kodak --level {options.level:g}"
    counts = f"{len(pictures)} pictures; {len(crops.pictures)} to train on"
    command = f"python tools/wu2019_figures.py runs {words}  # {counts}"
    options.out.mkdir(parents=True, exist_ok=True)
    told = beside(*(found[k] for k in ("full", "Huffman", "without entropy coding", "not tunable")))
    text = table(found, options.level, options.runs, told, command)
    (options.out / "wu2019-ablation.md").write_text(text, encoding="utf-8")
    values = {c.name: {"bpp": c.bpp, **c.figures} for c in found.values()}
    (options.out / "wu2019-ablation.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    figure = plots.rate_distortion(list(found.values()), [], "ms-ssim-db", "MS-SSIM (dB)")
    if figure is not None:
        (options.out / "wu2019-ablation.svg").write_text(plots.svg(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
