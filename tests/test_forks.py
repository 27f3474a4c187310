"""Forked processes encode and decode as the process that they came from, whatever its threads are at."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch

from gancodec import forks, weights
from gancodec.errors import GicError
from gancodec.models import inference
from gancodec.models.registry import MODELS
from gancodec.train.freeze import install
from tests.tiny import tiny_weights

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")

START = """
import multiprocessing, os, threading, time
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from PIL import Image
import gancodec

context = multiprocessing.get_context("fork")
image = Image.effect_noise((300, 200), 60).convert("RGB")
asked = [gancodec.EncodeOptions(n=0.0, **more) for more in ({}, *GUIDED)]
encode = lambda number: gancodec.encode(image, options=asked[number])
pixels = lambda data: np.asarray(gancodec.decode(data)).tobytes()

def work(number):
    return encode(number), pixels(encode(number))

def nested(number):
    with context.Pool(1) as pool:
        return pool.map(work, [number])[0]
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    install(tiny_weights(), MODELS["gic1-tiny"], folder, {"description": "seeded, for tests"})
    return folder


def ran(folder: Path, code: str) -> str:
    """What a program prints on standard output that forks, on two threads at least."""
    try:
        import cv2  # noqa: F401

        guided = "[{'saliency': 'combined'}, {'protect': ('text',)}]"
    except ImportError:
        guided = "[{'saliency': 'center'}]"
    environment = os.environ | {weights.ENVIRONMENT: str(folder), "OMP_NUM_THREADS": "3"}
    program = START.replace("GUIDED", guided) + code
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_pools_of_forks_make_the_parents_bytes(tiny: Path) -> None:
    code = """
mine = [work(number) for number in range(len(asked))]
with context.Pool(2) as pool:
    theirs = pool.map_async(work, range(len(asked))).get(20)
    threads = pool.apply_async(torch.get_num_threads).get(20)
with ProcessPoolExecutor(4, mp_context=context) as pool:
    more = list(pool.map(work, range(len(asked)), timeout=20))
    deeper = list(pool.map(nested, range(len(asked)), timeout=20))
print(mine == theirs == more, deeper == mine, threads)
"""
    assert ran(tiny, "import torch" + code) == "True True 1"


def test_a_fork_while_other_threads_encode(tiny: Path) -> None:
    """In the first of them the thread still imports what it needs."""
    code = """
def busy():
    while not done:
        work(0)

def child():
    import faulthandler
    faulthandler.dump_traceback_later(20, exit=True)
    work(0)
    os._exit(10)

done, codes = False, []
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
for pause in (0.1, 0, 0, 0.01, 0.02):
    time.sleep(pause)
    process = context.Process(target=child)
    process.start()
    process.join()
    codes.append(process.exitcode)
done = True
print(codes)
"""
    assert ran(tiny, code) == "[10, 10, 10, 10, 10]"


def test_a_program_that_has_not_encoded_keeps_its_threads() -> None:
    code = """
import os, sys, types, gancodec
sys.modules["torch"] = types.SimpleNamespace(set_num_threads=lambda count: os._exit(7))
child = os.fork()
if not child:
    os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
gancodec.EncodeOptions
child = os.fork()
if not child:
    os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def forked(patience: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds that the hooks before a fork take while another thread works until they are done."""
    monkeypatch.setattr(forks, "PATIENCE", patience)
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with forks.unforked(), forks.unforked():
            entered.set()
            leave.wait(0.3)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait()
    started = time.monotonic()
    forks._before()
    forks._in_parent()
    took = time.monotonic() - started
    leave.set()
    thread.join()
    return took


def test_a_fork_waits_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.2 < forked(10, monkeypatch) < 5
    assert 0.04 < forked(0.05, monkeypatch) < 0.25


def test_a_fork_in_the_midst_of_ones_own_work_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 10)
    started = time.monotonic()
    with forks.unforked():
        forks._before()
        forks._in_parent()
    assert time.monotonic() - started < 1


def test_the_cuda_of_a_parent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a device that is played: the process that asked first is another one in the child."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    inference._owner_of_cuda.cache_clear()
    try:
        assert inference.pick_device("auto").type == "cuda"
        monkeypatch.setattr(os, "getpid", lambda: -1)
        for name in ("auto", "cuda"):
            with pytest.raises(GicError, match='get_context\\("spawn"\\)'):
                inference.pick_device(name)
        assert inference.pick_device("cpu").type == "cpu"
        loaded = types.SimpleNamespace(device=torch.device("cuda"))
        with pytest.raises(GicError, match="spawn"):
            inference.Network._guarded(loaded, lambda: None)  # type: ignore[arg-type]
    finally:
        inference._owner_of_cuda.cache_clear()


def test_a_parent_that_used_torch_before_us_has_children_that_work(tiny: Path) -> None:
    """Its threads are of PyTorch, which the child has not; it hung until told to use one."""
    code = """
import torch, gancodec.forks
gancodec.forks._used = False  # as if nothing of it had been asked for yet
before = torch.randn(600, 600) @ torch.randn(600, 600)
with context.Pool(2) as pool:
    print(len(set(pool.map(work, [0] * 4))))
"""
    assert ran(tiny, code).split() == ["1"]
