"""Which saliency method knows best where people look? AUC-Judd, NSS and CC of each on 120 photographs with the eye
fixations of 15 viewers (OSIE). Writes build/bench/saliency.md.

    python tools/saliency_scores.py [--shared ../shared] [--sam2 FOLDER] [--output docs/results/saliency.md]

The three scores are as the MIT benchmark defines them. They take a map (H, W) of any range and scale; a constant map
scores what chance does: AUC 0.5, NSS 0, CC 0.

References
----------
.. [1] Bylinskii, Judd, Oliva, Torralba, Durand: What do different evaluation metrics tell us about saliency models?
   IEEE TPAMI 41 (3), 2019.
.. [2] Judd, Ehinger, Durand, Torralba: Learning to predict where humans look, ICCV 2009.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gancodec.errors import GicError
from gancodec.evaluate.report.tables import plain_markdown
from gancodec.saliency import saliency_map
from gancodec.types import FloatArray

SHARED = Path(__file__).parents[2] / "shared"
OUTPUT = Path("build/bench/saliency.md")
PRIORS, BOTTOM_UP = ("none", "center"), ("spectral", "fine", "combined", "spectral-center")
NETWORKS = ("gradcam", "segment", "sam2")
REFERENCE = "spectral"  # of the times
RESAMPLES, SEED = 5000, 0  # of the bootstrap

Pixels = NDArray[np.uint8]
Map = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]
Method = Callable[[Pixels], FloatArray]


class Scene(NamedTuple):
    """A picture (H, W, 3), the density of fixations on it (any size), and the pixels fixated (H, W)."""

    rgb: Pixels
    density: FloatArray
    seen: Mask


class Row(NamedTuple):
    """A method: AUC-Judd, NSS and CC of every picture (N, 3), and its median seconds for a picture."""

    method: str
    scores: NDArray[np.float64]
    seconds: float | None


def fixated(points: Map, shape: tuple[int, int]) -> Mask:
    """Pixels that were looked at.

    Parameters
    ----------
    points : (N, 2) array
        Fixations as x, y in pixels; the top left pixel reaches from 0 to 1. Those out of the picture are dropped.
    shape : (H, W)

    Returns
    -------
    (H, W) bool
        Several fixations on one pixel count once, in AUC and in NSS, as in the code of [1]_ (``S(F > 0)`` and
        ``map(logical(fixationMap))``).
    """
    x, y = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).T
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    result = np.zeros(shape, bool)
    result[y[inside].astype(np.int64), x[inside].astype(np.int64)] = True
    return result


def auc_judd(saliency: Map, seen: Mask) -> float:
    """Area under the ROC curve of "seen" by thresholds on saliency: seen pixels against all others [1]_, [2]_.

    Equals the chance that a seen pixel is more salient than another one, where ties count half. The MIT code sets its
    thresholds at seen pixels only, with straight lines between, and breaks ties by random jitter. Without ties, that
    adds P(another pixel is more salient than the least salient seen one) / 2N for N seen pixels: 0.004 at most for 130.

    Parameters
    ----------
    saliency : (H, W) array
    seen : (H, W) bool

    Returns
    -------
    float
        In [0, 1]; unchanged by any increasing function of the map.

    Raises
    ------
    ValueError
        Where no pixel was seen, or every one.
    """
    levels, level_of = np.unique(saliency, return_inverse=True)
    hits, others = (np.bincount(level_of.ravel()[m.ravel()], minlength=len(levels)) for m in (_some(seen), ~seen))
    if not others.any():
        raise ValueError("every pixel was seen: nothing to tell apart")
    below = np.cumsum(others) - others / 2
    return float(hits @ below / (hits.sum() * others.sum()))


def nss(saliency: Map, seen: Mask) -> float:
    """Normalised scanpath saliency: mean over seen pixels of the map at zero mean and unit deviation [1]_.

    Parameters
    ----------
    saliency : (H, W) array
    seen : (H, W) bool

    Returns
    -------
    float
        In deviations; 0 is chance.

    Raises
    ------
    ValueError
        Where no pixel was seen.
    """
    return float(_standardised(saliency)[_some(seen)].mean())


def correlation(saliency: Map, density: Map) -> float:
    """CC: Pearson's correlation of a map with the density of fixations [1]_.

    Parameters
    ----------
    saliency, density : (H, W) array

    Returns
    -------
    float
        In [-1, 1]; 0 where either is constant.
    """
    if saliency.shape != density.shape:
        raise ValueError(f"a map {saliency.shape} against a density {density.shape}")
    return float((_standardised(saliency) * _standardised(density)).mean())


def _some(seen: Mask) -> Mask:
    if not seen.any():
        raise ValueError("no pixel was seen: nothing to foretell")
    return seen


def _standardised(values: Map) -> NDArray[np.float64]:
    """Zero mean, unit deviation; zero where constant. Stretched to [0, 1] first, so that no deviation underflows."""
    exact = np.asarray(values, np.float64)
    low, high = exact.min(), exact.max()
    if low == high:
        return np.zeros(exact.shape)
    stretched = (exact - low) / (high - low)
    result: NDArray[np.float64] = (stretched - stretched.mean()) / stretched.std()
    return result


def load(folder: Path) -> list[Scene]:
    """The pictures of images/*.avif with maps/*.png and fixations.csv beside them."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with open(folder / "fixations.csv", newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            points[line["image"]].append((float(line["x"]), float(line["y"])))
    scenes = []
    for path in sorted((folder / "images").glob("*.avif")):
        rgb = np.asarray(Image.open(path).convert("RGB"))
        density = np.asarray(Image.open(folder / "maps" / f"{path.stem}.png").convert("L"), np.float32)
        scenes.append(Scene(rgb, density, fixated(np.array(points[path.stem]), rgb.shape[:2])))
    return scenes


def resized(values: NDArray[Any], shape: tuple[int, ...]) -> FloatArray:
    """A map brought to (H, W)."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def score(saliency: NDArray[Any], scene: Scene) -> tuple[float, float, float]:
    """AUC-Judd, NSS, and CC at the size of the density."""
    return (
        auc_judd(saliency, scene.seen),
        nss(saliency, scene.seen),
        correlation(resized(saliency, scene.density.shape), scene.density),
    )


def measure(scenes: Sequence[Scene], methods: Mapping[str, Method]) -> tuple[list[Row], list[str]]:
    """A row for each method, and a line for each that cannot run here. Methods take turns on every picture."""
    problems = {name: problem(method, scenes[0].rgb) for name, method in methods.items()}
    usable = {name: method for name, method in methods.items() if not problems[name]}
    scores: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    for scene in scenes:
        for name, method in usable.items():
            started = time.perf_counter()
            saliency = method(scene.rgb)
            seconds[name].append(time.perf_counter() - started)
            scores[name].append(score(saliency, scene))
    rows = [Row(name, np.array(scores[name]), statistics.median(seconds[name])) for name in usable]
    return rows, [f"{name}: {why}" for name, why in problems.items() if why]


def problem(method: Method, rgb: Pixels) -> str:
    """Why a method cannot run here, or nothing. Leaves its libraries and its network loaded."""
    try:
        method(rgb)
    except GicError as error:
        return str(error)
    return ""


def best(rows: Iterable[Row]) -> list[str]:
    """The best network, by NSS; none where there is no network, or no `center` to go with it."""
    means = {row.method: row.scores[:, 1].mean() for row in rows}
    found = [name for name in NETWORKS if name in means and "center" in means]
    return [max(found, key=lambda name: means[name])] if found else []


def product(first: Method, second: Method) -> Method:
    """Both maps multiplied."""
    return lambda rgb: first(rgb) * second(rgb)


def table(rows: Iterable[Row], reference: float | None) -> list[str]:
    """Lines of a Markdown table; times are also given as multiples of `reference` seconds."""
    head = ("method", "AUC-Judd", "NSS", "CC", "ms per picture", f"x {REFERENCE}")
    body = []
    for row in rows:
        cells = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in interval(row.scores)]
        cells.append("" if row.seconds is None else f"{1000 * row.seconds:.1f}")
        cells.append("" if row.seconds is None or not reference else f"{row.seconds / reference:.1f}")
        body.append([row.method, *cells])
    return plain_markdown(head, body)


def interval(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean and 95 % interval (low, high) of each column of (N, K), shaped (K, 3): percentile bootstrap over rows."""
    picks = np.random.default_rng(SEED).integers(0, len(scores), (RESAMPLES, len(scores)))
    means = scores[picks].mean(1)
    return np.stack([scores.mean(0), *np.percentile(means, [2.5, 97.5], axis=0)], axis=1)


def models(shared: Path, folder: Path, sam2: Path | None) -> tuple[dict[str, Path], list[str]]:
    """Folder of each network, written into `folder` from what `shared` has; and a line for what is not there."""
    found = {} if sam2 is None else {"sam2": sam2}
    absent = [] if found else ["sam2: no --sam2"]
    try:
        from shared_networks import write_classifier, write_segmenter

        for method, write in (("gradcam", write_classifier), ("segment", write_segmenter)):
            found[method] = write(folder / method, shared / "backbones")
    except (ImportError, OSError) as error:
        absent += [f"{method}: {error}" for method in ("gradcam", "segment") if method not in found]
    return found, absent


def methods_of(networks: Mapping[str, Path]) -> dict[str, Method]:
    """Methods by name, those in `networks` with their model."""

    def method(name: str) -> Method:
        return lambda rgb: saliency_map(rgb, name, str(networks[name]) if name in networks else None)

    return {name: method(name) for name in (*PRIORS, *BOTTOM_UP, *NETWORKS) if name not in NETWORKS or name in networks}


def one_thread() -> None:
    """For PyTorch and OpenCV."""
    torch.set_num_threads(1)
    try:
        import cv2
    except ImportError:
        return  # the methods that need it say so
    cv2.setNumThreads(1)


def main() -> int:
    """Score, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with data/saliency and backbones")
    parser.add_argument("--sam2", type=Path, help="folder of a SAM 2 model")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    data = options.shared / "data" / "saliency"
    if not data.is_dir():
        print(f"no {data}: nothing scored")
        return 0
    one_thread()
    scenes = load(data)
    with tempfile.TemporaryDirectory() as folder:
        networks, absent = models(options.shared, Path(folder), options.sam2)
        methods = methods_of(networks)
        rows, failed = measure(scenes, methods)
        pairs = {f"{name} x center": product(methods[name], methods["center"]) for name in best(rows)}
        rows += measure(scenes, pairs)[0]
    reference = next((row.seconds for row in rows if row.method == REFERENCE), None)
    ceiling = np.array([score(resized(scene.density, scene.seen.shape), scene) for scene in scenes])
    lines = table([*rows, Row("(fixation density)", ceiling, None)], reference)
    missing = [f"- left out: {line}" for line in absent + failed]
    page = PAGE.format(count=len(scenes), table="\n".join(lines), missing="\n".join(missing)).rstrip() + "\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    print(page, end="")
    return 0


PAGE = """# Saliency methods against human fixations

```
python tools/saliency_scores.py --output docs/results/saliency.md
```

{count} photographs of OSIE (640x480), fixations of 15 viewers. Means over pictures, with 95 % intervals (bootstrap over
pictures); all rows are of the same pictures, so differences between them are surer than the intervals look. Times are
medians on one thread, libraries and networks loaded.

{table}

- AUC-Judd: chance that a fixated pixel is more salient than another, 0.5 by guessing. NSS: saliency at fixations in
  standard deviations, 0 by guessing. CC: correlation with the density of fixations. Definitions and what differs from
  the MIT code: `tools/saliency_scores.py`.
- "x center": the best network, by NSS on these pictures, times `center`, as `spectral-center` is `spectral` times
  `center`. People look at the middle of photographs, where photographers put what matters; what a method adds to that
  is its distance from `center`.
- (fixation density) is the map of these very fixations: no method can be expected to reach it.
- F-measure and MAE are scores against masks of objects. The truth here is where eyes rested, which covers no object,
  so they do not fit and are not given.
{missing}
"""


if __name__ == "__main__":
    sys.exit(main())
