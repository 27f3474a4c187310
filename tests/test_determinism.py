"""Same symbols and latents, byte for byte: 1 and 2 threads, fresh processes, other instruction sets, any writer."""

from __future__ import annotations

import json
import platform
from itertools import zip_longest

import pytest

from gancodec import weights
from gancodec.models.registry import MODELS
from gancodec.train.freeze import install
from gancodec.weights import known
from tests.tiny import tiny_weights
from tools import determinism

PAPER = {model.name for model in known() if model.installed} & {"wu2019-small"}
CASES = ("photo", "photo-huffman", "noise", *("photo-wu2019" for _ in PAPER))
WRITERS = ("2 threads", "all oldest")
READERS = [name for name in determinism.settings() if name not in ("oneDNN SSE41", "ATen default")]  # torch only
Digests = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def setting_names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """All settings; each with the tiny model where no default model is installed."""
    chosen = determinism.settings()
    try:
        weights.get(None)
    except weights.MissingWeights:
        folder = tmp_path_factory.mktemp("weights")
        install(tiny_weights(), MODELS["gic1-tiny"], folder, {"description": "seeded, for tests"})
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
