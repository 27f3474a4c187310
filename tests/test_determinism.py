"""Same symbols and latents, byte for byte: 1 and 2 threads, fresh processes, other instruction sets, any writer. And
pixels that are as near as is promised."""

from __future__ import annotations

import json
import platform
import shutil
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
import torch

from gancodec import weights
from gancodec.models.registry import MODELS
from gancodec.train.freeze import install
from gancodec.weights import known
from tests.tiny import tiny_gic2_weights, tiny_weights
from tools import determinism

PAPER = {model.name for model in known() if model.installed} & {"wu2019-small"}
GIC2 = ("photo-gic2-tiny", "shapes-gic2-tiny")
CASES = ("photo", "photo-huffman", "noise", *GIC2, *("photo-wu2019" for _ in PAPER))
WRITERS = ("2 threads", "all oldest")
TORCH_ONLY = ("oneDNN SSE41", "oneDNN AVX2", "ATen default")
READERS = [name for name in determinism.settings() if name not in TORCH_ONLY]
DECODERS = ("2 threads", "1 thread", *TORCH_ONLY, "all oldest")
Digests = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def setting_names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """All settings, with what is installed and the tiny gic2; and the tiny gic1 where there is no default model."""
    chosen, folder, card = determinism.settings(), tmp_path_factory.mktemp("weights"), {"description": "for tests"}
    try:
        weights.get(None)
        for path in weights.folder().iterdir():
            if path.suffix in (".json", ".safetensors"):
                shutil.copyfile(path, folder / path.name)
    except weights.MissingWeights:
        install(tiny_weights(), MODELS["gic1-tiny"], folder, card)
    install(tiny_gic2_weights(), MODELS["gic2-tiny"], folder, card)
    for changes in chosen.values():
        changes[weights.ENVIRONMENT] = str(folder)
    return chosen


@pytest.fixture(scope="module")
def written(setting_names: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Digests]:
    """By writer: what it read back of the files that it wrote."""
    running = {}
    for name in WRITERS:
        folder = tmp_path_factory.mktemp("written")
        running[name] = determinism.child(setting_names[name], "--write", str(folder), *CASES)
    return {name: determinism.answer(process)[0] for name, process in running.items()}


@pytest.fixture(scope="module")
def read(
    setting_names: dict[str, dict[str, str]], written: dict[str, Digests]
) -> dict[str, tuple[Digests, dict[str, str]]]:
    """By reader: its digests of every file, and what its libraries ran as."""
    paths = [path for files in written.values() for path in files]
    result = {}
    for two in zip_longest(READERS[::2], READERS[1::2]):  # two at a time: two cores
        running = {name: determinism.child(setting_names[name], "--read", *paths) for name in two if name}
        result.update({name: determinism.answer(process) for name, process in running.items()})
    return result


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_file_reads_the_same(
    reader: str, writer: str, written: dict[str, Digests], read: dict[str, tuple[Digests, dict[str, str]]]
) -> None:
    assert len(written[writer]) == len(CASES)
    found, _ = read[reader]
    assert {path: found[path] for path in written[writer]} == written[writer]


def test_digests_see_the_difference_between_files(written: dict[str, Digests]) -> None:
    for kind in ("symbols", "latents"):
        assert len({d[kind] for d in written[WRITERS[0]].values()}) == len(CASES)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="forces x86 instruction sets")
def test_settings_take_effect(read: dict[str, tuple[Digests, dict[str, str]]]) -> None:
    """Else the tests above would compare one code path with itself."""
    cores = {name: said.get("openblas") for name, (_, said) in read.items()}
    if not any(cores.values()):
        pytest.skip("NumPy here does not say which OpenBLAS core it runs")
    assert cores["Nehalem"] == "Nehalem"
    assert cores["2 threads"] != "Nehalem"


def test_readers_need_no_torch(read: dict[str, tuple[Digests, dict[str, str]]]) -> None:
    assert not any("aten" in said for _, said in read.values()), json.dumps({k: v[1] for k, v in read.items()})


# --- pixels


@pytest.fixture(scope="module")
def decoded(
    setting_names: dict[str, dict[str, str]], written: dict[str, Digests], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, np.ndarray]]:
    """By setting: pixels by case of gic2, and what its libraries ran as."""
    paths = [path for path in written[WRITERS[0]] if Path(path).stem in GIC2]
    result = {}
    for two in zip(DECODERS[::2], DECODERS[1::2], strict=True):
        running = {}
        for name in two:
            folder = tmp_path_factory.mktemp("decoded")
            running[name] = determinism.child(setting_names[name], "--decode", str(folder), *paths)
        for name, process in running.items():
            files, said = determinism.answer(process)
            result[name] = {Path(path).stem: np.load(found["pixels"]) for path, found in files.items()} | {"": said}
    return result


@pytest.mark.parametrize("case", GIC2)
@pytest.mark.parametrize("name", DECODERS[1:])
def test_pixels_are_within_what_is_promised(name: str, case: str, decoded: dict[str, dict[str, np.ndarray]]) -> None:
    """Within one level but for 1 in 10,000, never more than two."""
    expected, found = decoded[DECODERS[0]][case], decoded[name][case]
    assert expected.std() > 10, "a flat picture shows nothing"
    assert determinism.kept(expected, found), determinism.apart(expected, found)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="forces x86 instruction sets")
def test_settings_of_torch_take_effect(decoded: dict[str, dict[str, np.ndarray]]) -> None:
    assert decoded["ATen default"][""]["aten"] == decoded["all oldest"][""]["aten"] == "DEFAULT"


@pytest.mark.parametrize(
    ("changes", "kept"), [({0: 1, 5: -1}, True), ({0: 2}, True), ({0: 2, 1: 2}, False), ({7: 3}, False), ({}, True)]
)
def test_what_is_promised_of_pixels(changes: dict[int, int], kept: bool) -> None:
    """Of 10,000 values: one may be two levels away, and any number one."""
    one = np.full((50, 200), 100, np.uint8)
    other = one.copy()
    for place, step in changes.items():
        other.flat[place] += np.array(step).astype(np.uint8)
    assert determinism.kept(one, other) is kept
    assert determinism.kept(other, one) is kept
    assert determinism.kept(one, one + 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
def test_cuda_keeps_the_promise(setting_names: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """The same files, decoded on both devices; symbols are read on the CPU whatever the device."""
    changes = setting_names["2 threads"]
    files, _ = determinism.answer(determinism.child(changes, "--write", str(tmp_path), *GIC2))
    found = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        arguments = "--decode", str(folder), "--device", device, *files
        found.append(determinism.answer(determinism.child(changes, *arguments))[0])
    for path in files:
        both = [np.load(result[path]["pixels"]) for result in found]
        assert determinism.kept(*both), determinism.apart(*both)
