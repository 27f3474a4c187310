"""What has to stay legible or recognisable: detectors of text and of faces, picture to a map in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.errors import MissingExtra, UsageError, optional
from gancodec.forks import unforked
from gancodec.types import FloatArray, Pixels

Boxes = NDArray[np.int64]  # rows of left, top, right, bottom; right and bottom excluded

LONGEST = 1536  # pixels of the working copy: time and memory stay bounded
LEAST_SIDE = 16  # pixels; in smaller pictures there is nothing to read or to recognise
MARGIN = 0.2  # of the height, around a line or a face

ENLARGED = 2.0  # of small pictures, so that the strokes of 12-pixel letters come apart
WINDOWS = (25, 75)  # of the local mean that separates ink from paper: small letters, large letters
LEAST_CONTRAST = 12  # gray steps between ink and the local mean
MOST_GLYPHS = 12_000  # per threshold, from the top; a dense page of print has half as many
AT_ONCE = 256  # glyphs that are paired with those of their band
LEAST_GLYPHS = 3  # of a line
INK_SPREAD = 30  # gray steps between neighbours
LEAST_SCORE = 25.2  # of a line

FACE_STEP, FACE_SIDE = 1.05, 24  # scale between window sizes; least side in pixels, the cascade's own
FACE_VOTES = 9  # windows that agree, in the picture and in its mirror image alike
FACE_OVERLAP = 0.3  # of the union of both boxes


class Glyphs(NamedTuple):
    """Candidates for letters: boxes (N, 4), mean gray (N,) and width of the thickest stroke in pixels (N,)."""

    box: Boxes
    gray: NDArray[np.float64]
    stroke: NDArray[np.float64]

    def only(self, keep: NDArray[Any]) -> Glyphs:
        """Those that a mask or a list of indices names."""
        return Glyphs(self.box[keep], self.gray[keep], self.stroke[keep])


def text(rgb: Pixels) -> FloatArray:
    """Lines of text: rows of at least three glyphs of one height, ink and stroke, level or nearly so.

    Thresholds around the local mean give the glyphs, so letters have to stand apart; handwriting, steep text and single
    letters are not found.
    """
    cv2 = _opencv("text")
    gray, scale = _working_copy(cv2, rgb, ENLARGED)
    boxes = [_lines(cv2, gray, _glyphs(cv2, gray, window, dark)) for window in WINDOWS for dark in (True, False)]
    return _painted(np.concatenate(boxes), scale, rgb.shape[:2])


def faces(rgb: Pixels) -> FloatArray:
    """Upright frontal faces, from 24 pixels in pictures of up to 1536, by OpenCV's cascade of local binary patterns.

    A face has to be found in the mirrored picture too. In 255 photographs (every sixth of a training collection) that
    left 43 boxes, 36 of them faces or drawings of faces; without it, at three votes, there were 192 boxes.

    References
    ----------
    .. [1] Liao, Zhu, Lei, Zhang, Li: Learning multi-scale block local binary patterns for face recognition, 2007.
    """
    cv2 = _opencv("faces")
    gray, scale = _working_copy(cv2, rgb)
    cascade = _cascade(cv2)
    found, mirrored = (_windows(cascade, picture) for picture in (gray, np.ascontiguousarray(gray[:, ::-1])))
    mirrored[:, [0, 2]] = gray.shape[1] - mirrored[:, [2, 0]]
    agreed = _overlap(found, mirrored).max(1, initial=0) > FACE_OVERLAP
    return _painted(found[agreed], scale, rgb.shape[:2])


# Of a picture (H, W, 3) uint8 a map (H, W) float32: 1 in the boxes of what is found, with a margin, 0 elsewhere.
DETECTORS: dict[str, Callable[[Pixels], FloatArray]] = {"text": text, "faces": faces}


def check_names(names: Iterable[str]) -> None:
    """UsageError where a name is not a key of DETECTORS."""
    if isinstance(names, str):
        raise UsageError("protect: a tuple of names, not a string")
    unknown = set(names) - set(DETECTORS)
    if unknown:
        raise UsageError(f"protect {', '.join(sorted(unknown))}: choose {' or '.join(DETECTORS)}")


@unforked()
def protection_map(rgb: Pixels, names: Iterable[str]) -> FloatArray:
    """What any of the detectors named finds, deterministic.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    names : iterable of str
        Keys of DETECTORS.

    Returns
    -------
    (H, W) float32
        In [0, 1]; zero everywhere where nothing is found, and in flat and tiny pictures.

    Raises
    ------
    UsageError
        For an unknown name.
    MissingExtra
        Where OpenCV, or for faces scikit-image with the cascade, is not installed.
    """
    names = tuple(names)
    check_names(names)
    result = np.zeros(rgb.shape[:2], np.float32)
    if min(rgb.shape[:2]) >= LEAST_SIDE:
        for name in names:
            np.maximum(result, DETECTORS[name](rgb), out=result)
    return result


def _opencv(what: str) -> Any:
    optional("cv2", f"protecting {what}", "protect", "CascadeClassifier")  # since OpenCV 5 not in every build
    import cv2

    return cv2


def _cascade(cv2: Any) -> Any:
    """OpenCV's cascade for frontal faces, as scikit-image ships it; OpenCV 5 brings no cascades of its own."""
    place = optional("skimage.data", "protecting faces", "protect", "lbp_frontal_face_cascade_filename")
    try:
        source = Path(place()).read_text(encoding="utf-8")
    except (ImportError, OSError) as error:  # it may have to be fetched, with one more package
        raise MissingExtra("protecting faces", "protect") from error
    source = source.replace("featuhreParams", "featureParams")  # a slip in that copy, on which OpenCV gives up
    storage = cv2.FileStorage(source, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    cascade = cv2.CascadeClassifier()
    if not cascade.read(storage.getFirstTopLevelNode()):
        raise MissingExtra("protecting faces", "protect")
    return cascade


def _windows(cascade: Any, gray: NDArray[np.uint8]) -> Boxes:
    """What a cascade finds, (N, 4)."""
    found = cascade.detectMultiScale(gray, FACE_STEP, FACE_VOTES, minSize=(FACE_SIDE, FACE_SIDE))
    boxes = np.array(found, np.int64).reshape(-1, 4)  # left, top, width, height
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _overlap(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) and (M, 4), shaped (N, M)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    result: NDArray[np.float64] = both / (np.add.outer(*areas) - both)
    return result


def _glyphs(cv2: Any, gray: NDArray[np.uint8], window: int, dark: bool) -> Glyphs:
    """Connected ink, darker (or lighter) than its surroundings, with the proportions and strokes of letters."""
    mean = cv2.boxFilter(gray, -1, (window, window))
    ink = cv2.subtract(mean, gray) if dark else cv2.subtract(gray, mean)
    ink = (ink >= LEAST_CONTRAST).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    left, top, width, height, area = stats.T.astype(np.int64)
    filled = area / (width * height)
    keep = (height >= 9) & (height <= 3 * window) & (width <= 2.5 * height) & (height <= 12 * width)
    keep &= (filled > 0.12) & (filled < 0.95)
    keep[0] = False  # what is not ink
    # Strokes: the farthest that ink lies from its edge, and whether most of the ink lies near it.
    flat, depth = labels.ravel(), cv2.distanceTransform(ink, cv2.DIST_L2, 3).ravel()
    inner = ink.ravel() > 0
    deepest = np.zeros(count)
    np.maximum.at(deepest, flat[inner], depth[inner])
    gray_of = np.bincount(flat, gray.ravel(), count) / np.maximum(area, 1)
    stroke = 2 * deepest
    keep &= (stroke <= 0.5 * height) & (area > 0.5 * stroke * np.maximum(width, height))
    from_the_top = np.lexsort((left, top))
    chosen = from_the_top[keep[from_the_top]][:MOST_GLYPHS]
    box = np.stack([left, top, left + width, top + height], axis=1)
    return Glyphs(box, gray_of, stroke).only(chosen)


def _lines(cv2: Any, gray: NDArray[np.uint8], glyphs: Glyphs) -> Boxes:
    """Boxes of the rows that glyphs form, (M, 4)."""
    rows = [glyphs.only(np.array(row)) for row in _rows(_neighbours(glyphs)) if len(row) >= LEAST_GLYPHS]
    boxes = [np.concatenate([row.box[:, :2].min(0), row.box[:, 2:].max(0)]) for row in rows]
    lines = [box for row, box in zip(rows, boxes, strict=True) if _score(cv2, gray, row, box) > LEAST_SCORE]
    return np.array(lines, np.int64).reshape(-1, 4)


def _neighbours(glyphs: Glyphs) -> NDArray[np.int64]:
    """Pairs (P, 2) of glyphs, sorted from the top, that may stand side by side in a word or across a space."""
    top = glyphs.box[:, 1]
    tallest = (glyphs.box[:, 3] - top).max(initial=0)
    pairs = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(top), AT_ONCE):
        some = np.arange(start, min(start + AT_ONCE, len(top)))
        low, high = np.searchsorted(top, [top[some[0]] - tallest, top[some[-1]] + tallest + 1])
        band = np.arange(low, high)
        first, second = np.nonzero(_side_by_side(glyphs.only(some), glyphs.only(band)))
        pairs.append(np.stack([some[first], band[second]], axis=1))
    return np.concatenate(pairs)


def _side_by_side(a: Glyphs, b: Glyphs) -> NDArray[np.bool_]:
    """Which of b (M glyphs) may follow which of a (N glyphs) to the right, shaped (N, M)."""
    (left, top, right, bottom), (left_b, top_b, _, bottom_b) = a.box.T, b.box.T
    height, height_b = bottom - top, bottom_b - top_b
    tall, small = (f.outer(height, height_b) for f in (np.maximum, np.minimum))
    gap = left_b[None] - right[:, None]
    shared = np.minimum.outer(bottom, bottom_b) - np.maximum.outer(top, top_b)
    like = (gap > -0.2 * small) & (gap < tall) & (left_b[None] > left[:, None])
    like &= (shared > 0.6 * small) & (tall < 1.9 * small)
    like &= np.abs(np.subtract.outer(a.gray, b.gray)) < INK_SPREAD
    like &= np.maximum.outer(a.stroke, b.stroke) < 2 * np.minimum.outer(a.stroke, b.stroke)
    result: NDArray[np.bool_] = like
    return result


def _rows(pairs: NDArray[np.int64]) -> list[list[int]]:
    """Groups of indices that pairs connect."""
    group: dict[int, list[int]] = {}
    for first, second in pairs.tolist():
        a, b = (group.setdefault(index, [index]) for index in (first, second))
        if a is not b:
            a.extend(b)
            group.update(dict.fromkeys(b, a))
    return list({id(row): row for row in group.values()}.values())


def _score(cv2: Any, gray: NDArray[np.uint8], row: Glyphs, box: NDArray[np.int64]) -> float:
    """How much a row looks like text: ink apart from paper, crisp edges, one ink, a level base line, many glyphs.

    The weights are those of a logistic regression, rounded: 1,635 rows of text rendered in 37 fonts on training
    photographs against 2,169 rows found in the same photographs without it.
    """
    patch = gray[box[1] : box[3], box[0] : box[2]]
    limit, _ = cv2.threshold(patch, 0, 255, cv2.THRESH_OTSU)
    above = patch > limit
    share = above.mean()
    if not 0 < share < 1:
        return -np.inf
    contrast = patch[above].mean() - patch[~above].mean()
    apart = share * (1 - share) * contrast**2 / patch.var()  # of the variance, what two grays explain
    across, down = (cv2.Sobel(patch, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))  # gray steps a pixel
    crisp = min(np.percentile(np.hypot(across, down), 95) / contrast, 0.5)
    left, top, _, bottom = row.box.T
    tilt, offset = np.polyfit(left, bottom, 1)
    stray = np.median(np.abs(bottom - tilt * left - offset)) / np.median(bottom - top)
    disorder = row.gray.std() / contrast + stray + abs(tilt)
    return float(21 * apart + 16 * crisp - 9 * disorder + 1.6 * np.log(len(left)))


def _working_copy(cv2: Any, rgb: Pixels, enlarged: float = 1.0) -> tuple[NDArray[np.uint8], float]:
    """Gray picture with its longest side at most LONGEST, enlarged at most so much; and the scale."""
    scale = min(enlarged, LONGEST / max(rgb.shape[:2]))
    gray = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    size = [max(1, round(side * scale)) for side in rgb.shape[1::-1]]
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), scale


def _painted(boxes: Boxes, scale: float, shape: tuple[int, int]) -> FloatArray:
    """Map of ones in boxes of the working copy."""
    result = np.zeros(shape, np.float32)
    for left, top, right, bottom in boxes:
        margin = MARGIN * (bottom - top)
        rows = slice(max(0, int((top - margin) / scale)), int(np.ceil((bottom + margin) / scale)))
        result[rows, max(0, int((left - margin) / scale)) : int(np.ceil((right + margin) / scale))] = 1
    return result
