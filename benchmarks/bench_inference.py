"""Ways to run encoder and generator on a CPU, at 768x512: speed and largest error. Writes build/bench/inference.md.

Every way computes the same networks from the same input. All ways of one network take turns within a round, so that
what else the machine does hits them alike. "x" is how many times as fast as PyTorch in float32, channels last, in the
same run: the ratio of medians and, behind it, that of the least times. Errors are against the same: of the generator in
steps of 255 before rounding, of the encoder in units of omega. Models that are not installed get random weights: what
a network costs does not depend on them, but errors do, and random ones are no guide.

A half block (`models.gic1.inference.HalfBlock`) is a residual block with convolutions in bfloat16 and its sum in
float32.
onnxruntime, openvino and a C++ compiler are used where they are installed; ways that cannot run say why.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_codec import machine, photograph
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec import weights
from gancodec.errors import MissingWeights
from gancodec.models.gic1.config import TunableConfig
from gancodec.models.gic1.inference import HalfBlock, with_half_trunk
from gancodec.models.gic1.network import CENTRE_GAIN, GAIN_SLOPE, Generator, TunableModel
from gancodec.models.layers import SLOPE, ResidualBlock
from gancodec.models.levels import LEVELS, logit_to_level
from gancodec.models.registry import MODELS

OUTPUT = Path("build/bench/inference.md")
SIZE = (768, 512)
NAMES = ("gic1-small", "gic1-small-2", "gic1")
PARTS = ("encoder", "generator")
ROUNDS = 15
PAUSE = 0.05  # seconds; threads of one runtime go on spinning for a while and would slow the next
BASE = "PyTorch float32, channels last"
LAST = torch.channels_last
Ways = dict[str, Callable[[], Tensor]]
Record = dict[str, Any]


class Latents(nn.Module):
    """The encoder as the codec runs it: omega (1, K, h, w) of x (1, 3, H, W) in [0, 1]."""

    def __init__(self, model: TunableModel) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, x: Tensor) -> Tensor:
        """Omega only: hyper-latent and masker are small networks upon it."""
        return self.encoder.latents(x)


def model_of(name: str) -> tuple[TunableModel, bool]:
    """The model, with released weights where they are installed; and whether they were."""
    torch.manual_seed(0)
    config = MODELS[name]
    assert isinstance(config, TunableConfig)  # for the type checker: see NAMES
    model = TunableModel(config).eval()
    try:
        arrays = weights.get(name).network
    except MissingWeights:
        for film in (model.generator.film_head, model.generator.film_trunk):  # they start at zero and would do nothing
            nn.init.normal_(film.table, 0, 0.2)
        return model, False
    model.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}, strict=False)
    return model, True


def case(name: str, part: str) -> tuple[nn.Module, list[Tensor], bool]:
    """A network and its inputs: a photograph, or what the encoder makes of it in steps of a quarter."""
    model, real = model_of(name)
    pixels: NDArray[np.uint8] = np.asarray(photograph(SIZE))
    x = torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2).contiguous().float() / 255
    encoder = Latents(model).eval()
    if part == "encoder":
        return encoder, [x], real
    with torch.inference_mode():
        latent = (encoder(x) * 4).round() / 4
    rows, columns = SIZE[1] // 64, SIZE[0] // 64
    return model.generator, [latent.clone(), torch.linspace(0, LEVELS - 1, rows * columns).view(1, rows, columns)], real


def hard_pictures() -> dict[str, NDArray[np.uint8]]:
    """A photograph, and random squares of full contrast, which no photograph comes near."""
    rng = np.random.default_rng(0)
    found = {"photograph": np.array(photograph(SIZE))}
    for side in (4, 8, 16):
        cells = rng.integers(0, 2, (SIZE[1] // side, SIZE[0] // side, 3)) * 255
        found[f"squares of {side}"] = cells.repeat(side, 0).repeat(side, 1).astype(np.uint8)
    return found


def largest_errors(name: str) -> str:
    """Markdown: how far pixels move in half blocks and in autocast, for the worst of five rates; released weights."""
    model, real = model_of(name)
    if not real:
        return f"{name} is not installed: no errors worth telling."
    model = model.to(memory_format=LAST)  # type: ignore[call-overload]
    trunk, blocks = with_half_trunk(copy.deepcopy(model.generator)), with_half_blocks(copy.deepcopy(model.generator))
    lines = ["| 255ths, clipped, before rounding | half trunk | all blocks half | autocast |", "|---|---:|---:|---:|"]
    for title, pixels in hard_pictures().items():
        x = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).float() / 255
        worst = [0.0, 0.0, 0.0]
        for logit in (-4.0, -2.0, 0.0, 2.0, 4.0):
            gain = CENTRE_GAIN * math.exp(GAIN_SLOPE * logit)  # as untrained; trained ones are not far from it
            level = torch.full((1, SIZE[1] // 64, SIZE[0] // 64), logit_to_level(logit))
            with torch.inference_mode():
                latent = (model.encoder.latents(x) * gain).round() / gain
                expected = model.generator(latent, level).clamp(0, 1)
                found = [trunk(latent, level), blocks(latent, level)]
                with torch.autocast("cpu", torch.bfloat16):
                    found.append(model.generator(latent, level))
            moved = [float((v.float().clamp(0, 1) - expected).abs().max()) * 255 for v in found]
            worst = list(map(max, worst, moved))
        lines.append(f"| {title} | " + " | ".join(f"{v:.2f}" for v in worst) + " |")
    return f"### {name}, errors\n\n" + "\n".join(lines)


def torch_ways(network: nn.Module, inputs: list[Tensor]) -> Ways:
    """PyTorch by itself: layouts, precisions, and what the codec does."""
    last = copy.deepcopy(network).to(memory_format=LAST)  # type: ignore[call-overload]
    given = [v.contiguous(memory_format=LAST) if v.dim() == 4 else v for v in inputs]
    halved = with_half_blocks(copy.deepcopy(last))

    def autocast() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return last(*given)  # type: ignore[no-any-return]

    found: Ways = {BASE: lambda: last(*given), "PyTorch float32, contiguous": lambda: network(*inputs)}
    if isinstance(last, Generator):
        used = with_half_trunk(copy.deepcopy(last))
        found["PyTorch, trunk in half blocks (in use)"] = lambda: used(*given)
    else:
        hidden = given[0][0][None]  # its batch axis has a stride that PyTorch does not take for channels last
        hidden = hidden.as_strided(hidden.shape, (hidden.shape[1], *hidden.stride()[1:]))
        found["PyTorch float32, channels last by other strides (used before)"] = lambda: last(hidden)
    return found | {
        "PyTorch, all residual blocks in half blocks": lambda: halved(*given),
        "PyTorch, bfloat16 autocast": autocast,
        "PyTorch, in place": in_place(last, given),
        "torch.jit: trace, freeze": scripted(last, given, torch.jit.freeze),
        "torch.jit: optimize_for_inference": scripted(last, given, torch.jit.optimize_for_inference),
    }


def with_half_blocks(network: nn.Module) -> nn.Module:
    """Replace every residual block by its half block; returns the network."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ResidualBlock):
                setattr(parent, name, HalfBlock(child))
    return network


def in_place(network: nn.Module, inputs: list[Tensor]) -> Callable[[], Tensor]:
    """Residual blocks whose activation and sum overwrite their inputs: no tensor more than needed."""

    class Frugal(ResidualBlock):
        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.second(nn.functional.leaky_relu_(self.first(x), SLOPE)).add_(x)
            return result

    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.__class__ = Frugal
        if isinstance(module, nn.LeakyReLU):
            module.inplace = True
    return lambda: network(*inputs)


def scripted(network: nn.Module, inputs: list[Tensor], finish: Callable[..., Any]) -> Callable[[], Tensor]:
    """Traced, and changed by `finish`."""
    with torch.no_grad():
        trace: Any = torch.jit.trace
        traced: Callable[..., Tensor] = finish(trace(copy.deepcopy(network), tuple(inputs)))
    return lambda: traced(*inputs)


def compiled_ways(network: nn.Module, inputs: list[Tensor]) -> Ways:
    """torch.compile with a C++ compiler; frozen weights are laid out for oneDNN beforehand."""
    from torch._inductor import config

    last = copy.deepcopy(network).to(memory_format=LAST)  # type: ignore[call-overload]
    given = [v.contiguous(memory_format=LAST) if v.dim() == 4 else v for v in inputs]
    compile_: Any = torch.compile
    plain: Callable[..., Tensor] = compile_(last)
    frozen: Callable[..., Tensor] = compile_(copy.deepcopy(last))

    def freezing() -> Tensor:
        patched: Any = config.patch(freezing=True)
        with patched:
            return frozen(*given)

    return {"torch.compile": lambda: plain(*given), "torch.compile, freezing": freezing}


def onnx_file(network: nn.Module, inputs: list[Tensor], path: Path) -> Path:
    """The network as ONNX, of this size only: runtimes may use what they know."""
    with torch.no_grad():
        torch.onnx.export(network, tuple(inputs), str(path), dynamo=True, external_data=False, verbose=False)
    return path


def onnxruntime_ways(path: Path, inputs: list[Tensor], threads: int) -> Ways:
    """Its CPU provider."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = dict(zip([v.name for v in session.get_inputs()], [v.numpy() for v in inputs], strict=True))
    return {"onnxruntime float32": lambda: torch.from_numpy(session.run(None, feed)[0])}


def openvino_ways(path: Path, inputs: list[Tensor], threads: int) -> Ways:
    """Its CPU plugin, with the precision named: on its own it would choose bfloat16 where there is hardware."""
    import openvino

    core = openvino.Core()

    def way(precision: str) -> Callable[[], Tensor]:
        hints = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(core.read_model(str(path)), "CPU", hints).create_infer_request()
        feed = [v.numpy() for v in inputs]
        return lambda: torch.from_numpy(np.array(request.infer(feed)[0]))

    return {"OpenVINO float32": way("f32"), "OpenVINO bfloat16": way("bf16")}


def ways(network: nn.Module, inputs: list[Tensor], threads: int, quick: bool) -> tuple[Ways, list[str]]:
    """Every way that runs here, and a line for each group that does not."""
    found, absent = torch_ways(network, inputs), []
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    path = OUTPUT.with_name(f"inference-{os.getpid()}.onnx")
    groups: dict[str, Callable[[], Ways]] = {
        "onnxruntime": lambda: onnxruntime_ways(onnx_file(network, inputs, path), inputs, threads),
        "OpenVINO": lambda: openvino_ways(path, inputs, threads),
    }
    if not quick:
        groups["torch.compile"] = lambda: compiled_ways(network, inputs)
    for name, make in groups.items():
        some, why = tried(make)
        found |= some
        absent += [f"{name}: {why}"] if why else []
    path.unlink(missing_ok=True)
    return found, absent


def tried(make: Callable[[], Ways]) -> tuple[Ways, str]:
    """What `make` makes, each run once; or nothing, and why."""
    try:
        found = make()
        with torch.inference_mode():
            for work in found.values():
                work()
    except Exception as error:  # whatever a runtime raises; the others can still be compared
        return {}, f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    return found, ""


def measure(found: Ways, rounds: int, part: str) -> Record:
    """Seconds of every way in every round, after two that do not count, and its largest error."""
    times: dict[str, list[float]] = {name: [] for name in found}
    scale = 255 if part == "generator" else 1
    with torch.inference_mode():
        expected = found[BASE]()
        errors = {name: float((work() - expected).abs().max()) * scale for name, work in found.items()}
        for number in range(rounds + 1):
            for name, work in found.items():
                time.sleep(PAUSE)
                started = time.perf_counter()
                work()
                if number:
                    times[name].append(time.perf_counter() - started)
    return {"times": times, "errors": errors}


def worker(name: str, part: str, threads: int, rounds: int, quick: bool) -> Record:
    """Measure one network in this process."""
    warnings.simplefilter("ignore")  # exporters and compilers talk about themselves
    torch.set_num_threads(threads)
    network, inputs, real = case(name, part)
    found, absent = ways(network, inputs, threads, quick)
    return {"name": name, "part": part, "threads": threads, "real": real, "absent": absent} | measure(
        found, rounds, part
    )


def child(*arguments: str, threads: int) -> Record:
    """Run this file in a fresh process whose libraries all start with the same number of threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, __file__, "--worker", "--threads", str(threads), *arguments]
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    result: Record = json.loads(ran.stdout.splitlines()[-1])
    return result


def table(record: Record) -> str:
    """One network as Markdown."""
    unit = "255ths" if record["part"] == "generator" else "omega"
    kind = "released weights" if record["real"] else "random weights"
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    lines = [
        f"### {record['name']}, {record['part']}, {threads} ({kind})",
        "",
        f"| | median ms | least ms | x, of medians | x, of least | largest error, {unit} |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    times, base = record["times"], record["times"][BASE]
    for name, values in times.items():
        middle, least = statistics.median(values), min(values)
        ratios = f"{statistics.median(base) / middle:.2f} | {min(base) / least:.2f}"
        error = f"{record['errors'][name]:.2g}" if name != BASE else "–"
        lines.append(f"| {name} | {middle * 1e3:.1f} | {least * 1e3:.1f} | {ratios} | {error} |")
    lines += [f"\nNot measured: {line}" for line in record["absent"]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all, or (`--worker`) one network in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NAMES, action="append", help="only this model")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this network")
    parser.add_argument("--threads", type=int, action="append", help="only this many; without, 1 and 2")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="without torch.compile, which takes minutes to compile")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names, parts, threads = options.model or NAMES, options.part or PARTS, options.threads or [1, 2]
    if options.worker:
        sys.stdout.flush()
        print("\n" + json.dumps(worker(names[0], parts[0], threads[0], options.rounds, options.quick)))
        return 0
    about = machine()
    sections = [f"{about['cpu']}, {about['cores']} cores, PyTorch {about['torch']}, {options.rounds} rounds"]
    for count in threads:
        for name in names:
            for part in parts:
                chosen = ["--model", name, "--part", part, "--rounds", str(options.rounds)]
                record = child(*chosen, *(["--quick"] if options.quick else []), threads=count)
                sections.append(table(record))
                print(sections[-1], flush=True)
    for name in names:
        sections.append(largest_errors(name))
        print(sections[-1], flush=True)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
