"""Training pictures: a folder of picture files or of packed shards, held in memory as uint8, cropped at random.

A shard is an uncompressed zip of the picture files as they are, so that it stays small on its way to another machine.
New shards that appear in the folder while training runs are picked up by `Crops.refresh`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gancodec.errors import UsageError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp"}
HELD_OUT = 32  # of so many pictures, by sorted name, the first is kept for validation


def pack(source: Path, target: Path, shard_mib: int = 56) -> list[Path]:
    """Pack the pictures under `source` into shards of at most `shard_mib` MiB in `target`; returns the shards
    written."""
    files = picture_files(source)
    target.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    room = 0
    archive: zipfile.ZipFile | None = None
    for file in files:
        size = file.stat().st_size
        if archive is None or size > room:
            if archive is not None:
                archive.close()
            shards.append(target / f"shard-{len(shards):03d}.zip")
            archive = zipfile.ZipFile(shards[-1], "w", zipfile.ZIP_STORED)
            room = shard_mib << 20
        archive.write(file, file.name)
        room -= size
    if archive is not None:
        archive.close()
    return shards


def picture_files(folder: Path) -> list[Path]:
    """Pictures under `folder`, sorted; UsageError where there are none."""
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(f"{folder}: no pictures")
    return files


def _entries(folder: Path) -> Iterator[tuple[str, bytes]]:
    shards = sorted(folder.glob("*.zip"))
    for shard in shards:
        with zipfile.ZipFile(shard) as archive:
            for name in sorted(archive.namelist()):
                yield name, archive.read(name)
    if not shards:
        for file in picture_files(folder):
            yield file.name, file.read_bytes()


class Crops:
    """Random crops of the pictures in `folder`.

    Parameters
    ----------
    folder : Path
        Picture files, or shards made by `pack`.
    crop : int
        Side of the crops in pixels; smaller pictures are left out.
    device : torch.device
        Where the pictures are held and cropped.
    """

    def __init__(self, folder: Path, crop: int, device: torch.device) -> None:
        self.folder, self.crop, self.device = folder, crop, device
        self.pictures: list[Tensor] = []
        self.held_out: list[np.ndarray] = []
        self._seen: set[str] = set()
        self.refresh()
        if not self.pictures:
            raise UsageError(f"{folder}: no picture of at least {crop}x{crop} pixels, or but one, which is held out")

    def refresh(self) -> None:
        """Load what is new in the folder; a picture's place, and so every crop after it, depends on its name alone."""
        for name, data in _entries(self.folder):
            if name in self._seen:
                continue
            self._seen.add(name)
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB"))
            if min(pixels.shape[:2]) < self.crop:
                continue
            if len(self._seen) % HELD_OUT == 1:
                self.held_out.append(pixels)
            else:
                self.pictures.append(torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(self.device))

    def batch(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 3, crop, crop) float in [0, 1], channels last, mirrored at random; drawn from `generator` alone."""
        draws = torch.rand(count, 4, generator=generator).tolist()
        crops = []
        for pick, top, left, mirror in draws:
            picture = self.pictures[int(pick * len(self.pictures))]
            y = int(top * (picture.shape[1] - self.crop + 1))
            x = int(left * (picture.shape[2] - self.crop + 1))
            crop = picture[:, y : y + self.crop, x : x + self.crop]
            crops.append(crop.flip(2) if mirror < 0.5 else crop)
        return (torch.stack(crops).float() / 255).contiguous(memory_format=torch.channels_last)
