"""Encoder and generator of HiFiC beside ours, at 768x512 in one run. Writes build/bench/hific.json.

HiFiC is built here from its published description (Mentzer et al. 2020, "High-Fidelity Generative Image Compression";
MS-ILLM uses the same architecture), with random weights: what a network costs does not depend on them. Of HiFiC only
the networks run. Its entropy coder, whose tables depend on the picture, its padding and its conversion of pixels are
left out, and so is the hyper-synthesis that a decoder needs, all of which flatters HiFiC. Ours is timed whole, from
pixels to the bytes of a file and back with entropy coding, and with its networks only.

The machine is noisy, so all cases take turns within a round. Ratios are of medians: HiFiC's seconds over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from bench_codec import CORES, Record, machine, photograph
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

OUTPUT = Path("build/bench/hific.json")
SIZE = (768, 512)
ROUNDS = 7
LATENTS, HYPER = 220, 320
WIDTHS = (60, 120, 240, 480, 960)
BLOCKS = 9
# As published: millions of parameters in all and of the generator, and the generator's kMAC per pixel; with what is
# taken for the same architecture.
EXPECTED = {"parameters_m": 181.0, "generator_parameters_m": 157.0, "generator_kmac_per_pixel": 664.0}
TOLERANCE = 0.01
HIFIC = {"encode": "hific encoder + hyper networks", "decode": "hific generator network"}
OURS = {
    "encode": ("our whole encode", "our encoder networks"),
    "decode": ("our whole decode", "our generator network"),
}


class ChannelNorm(nn.Module):
    """Normalise (B, C, H, W) over the channels of each position, then scale and shift.

    A layer norm on the channels-last view, which moves no memory: the fastest form that PyTorch has.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        last = nn.functional.layer_norm(x.permute(0, 2, 3, 1), self.scale.shape, self.scale, self.shift, 1e-3)
        return last.permute(0, 3, 1, 2)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by `stride`."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


def upconv(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles the size."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, 2, kernel // 2, output_padding=1)


def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
    """A layer with the ChannelNorm and ReLU that follow it."""
    return [layer, ChannelNorm(channels), nn.ReLU(inplace=True)]


def hyper_synthesis() -> nn.Sequential:
    """(B, 320, H/64, W/64) to one parameter of every latent, (B, 220, H/16, W/16)."""
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(upconv(HYPER, HYPER, 5), relu, upconv(HYPER, HYPER, 5), relu, conv(HYPER, LATENTS, 3))


class Encoder(nn.Module):
    """Encoder with the hyper networks that give the entropy coder its means and scales."""

    def __init__(self) -> None:
        super().__init__()
        layers = normed(conv(3, WIDTHS[0], 7), WIDTHS[0])
        for before, after in zip(WIDTHS, WIDTHS[1:], strict=False):
            layers += normed(conv(before, after, 3, 2), after)
        self.trunk = nn.Sequential(*layers, conv(WIDTHS[-1], LATENTS, 3))
        relu = nn.ReLU(inplace=True)
        self.analysis = nn.Sequential(
            conv(LATENTS, HYPER, 3), relu, conv(HYPER, HYPER, 5, 2), relu, conv(HYPER, HYPER, 5, 2)
        )
        self.mean, self.scale = hyper_synthesis(), hyper_synthesis()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) to latents, means and scales (B, 220, H/16, W/16) and hyper-latents (B, 320, H/64, W/64)."""
        latents = self.trunk(x)
        hyper = self.analysis(latents).round()
        return latents, self.mean(hyper), self.scale(hyper), hyper


class ResidualBlock(nn.Module):
    """Two normed 3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        second = (conv(channels, channels, 3), ChannelNorm(channels))
        self.body = nn.Sequential(*normed(conv(channels, channels, 3), channels), *second)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        body: Tensor = self.body(x)
        return body.add_(x)


class Generator(nn.Module):
    """Latents (B, 220, H/16, W/16) to pixels (B, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        wide = WIDTHS[-1]
        self.head = nn.Sequential(ChannelNorm(LATENTS), conv(LATENTS, wide, 3), ChannelNorm(wide))
        self.trunk = nn.Sequential(*(ResidualBlock(wide) for _ in range(BLOCKS)))
        layers: list[nn.Module] = []
        for before, after in zip(WIDTHS[::-1], WIDTHS[-2::-1], strict=False):
            layers += normed(upconv(before, after, 3), after)
        self.tail = nn.Sequential(*layers, conv(WIDTHS[0], 3, 7))

    def forward(self, latents: Tensor) -> Tensor:
        """(B, 220, h, w) to (B, 3, 16 h, 16 w)."""
        head = self.head(latents)
        return self.tail(self.trunk(head) + head)  # type: ignore[no-any-return]


def architecture() -> dict[str, float]:
    """Parameters and multiply-accumulates of HiFiC as built here, counted without computing anything."""
    with torch.device("meta"):
        encoder, generator = Encoder(), Generator()
        image, latents = torch.empty(1, 3, *SIZE[::-1]), torch.empty(1, LATENTS, SIZE[1] // 16, SIZE[0] // 16)
    found = {}
    for name, network, given in (("encoder", encoder, image), ("generator", generator, latents)):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(given)
        found[f"{name}_parameters_m"] = sum(p.numel() for p in network.parameters()) / 1e6
        found[f"{name}_kmac_per_pixel"] = counter.get_total_flops() / 2 / (SIZE[0] * SIZE[1]) / 1e3
    found["parameters_m"] = found["encoder_parameters_m"] + found["generator_parameters_m"]
    return found


def check(found: dict[str, float]) -> bool:
    """Print what was built beside what is published; false where they differ by more than 1 %."""
    same = True
    for name, expected in EXPECTED.items():
        fits = abs(found[name] - expected) <= TOLERANCE * expected
        same &= fits
        print(f"hific {name:26} {found[name]:8.1f}  published near {expected:g}: {'ok' if fits else 'DIFFERS'}")
    return same


def our_costs(cases: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Parameters of our networks in millions and their kMAC per pixel; without the integer entropy model, which is
    coding."""
    from gancodec import weights

    arrays = weights.get(None).network
    generator = sum(v.size for k, v in arrays.items() if k.startswith("generator."))
    found = {"parameters_m": sum(v.size for v in arrays.values()) / 1e6, "generator_parameters_m": generator / 1e6}
    for name, (_, case) in zip(("encoder", "generator"), OURS.values(), strict=True):
        with FlopCounterMode(display=False) as counter:
            cases[case]()
        found[f"{name}_kmac_per_pixel"] = counter.get_total_flops() / 2 / (SIZE[0] * SIZE[1]) / 1e3
    return found


def hific_cases(device: torch.device) -> dict[str, Callable[[], object]]:
    """HiFiC's two passes on `device`, channels last, on inputs that are already there."""
    torch.manual_seed(0)
    last = torch.channels_last
    encoder, generator = (
        network.eval().to(device, memory_format=last)  # type: ignore[call-overload]
        for network in (Encoder(), Generator())
    )
    image = torch.rand(1, 3, *SIZE[::-1]).to(device, memory_format=last)
    latents = torch.randn(1, LATENTS, SIZE[1] // 16, SIZE[0] // 16).round().to(device, memory_format=last)

    def timed(network: nn.Module, given: Tensor) -> Callable[[], object]:
        def work() -> object:
            with torch.inference_mode():
                result = network(given)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return result

        return work

    return {HIFIC["encode"]: timed(encoder, image), HIFIC["decode"]: timed(generator, latents)}


def our_cases(device: str, n: float) -> tuple[dict[str, Callable[[], object]], Record]:
    """Our encode and decode, whole and networks only, of the default model; and what the file is."""
    from gancodec import container, weights
    from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture
    from gancodec.imageio import from_image
    from gancodec.models.gic1.codec import TunableCodec
    from gancodec.models.tiled import Reader
    from gancodec.tiling import Area
    from gancodec.types import Plane, Planes

    picture = from_image(photograph(SIZE))
    options = EncodeOptions(n=n, device=device)
    coded = encode_picture(picture, options)
    codec = TunableCodec(weights.get(None), device)
    reader = Reader(codec, container.read(coded.data))
    height, width = picture.geometry.padded
    planes = reader(Area(0, height, 0, width))

    def source(area: Area) -> Planes:
        return tuple(Plane(values[area.sites(stride)], stride) for values, stride in planes)

    whole, networks = zip(*OURS.values(), strict=True)
    cases: dict[str, Callable[[], object]] = {
        whole[0]: lambda: encode_picture(picture, options),
        whole[1]: lambda: decode_bytes(coded.data, DecodeOptions(device=device)),
        networks[0]: lambda: codec.network.analyse(picture.rgb),
        networks[1]: lambda: codec.network.synthesise(source, picture.geometry, 0.0),
    }
    return cases, {"n": n, "bytes": len(coded.data), "bpp": coded.bpp}


def install_untrained(name: str, folder: Path) -> None:
    """Make seeded weights of a model that nobody has trained yet the default: what it costs does not depend on them."""
    from gancodec.models.gic1.training import Trained
    from gancodec.models.registry import MODELS
    from gancodec.train.freeze import freeze, install
    from gancodec.train.recipes import RECIPES
    from gancodec.train.state import networks
    from gancodec.weights import ENVIRONMENT

    torch.manual_seed(0)
    net = networks(RECIPES[f"{name}-s3"]).eval()
    assert isinstance(net, Trained)  # for the type checker
    with torch.no_grad():  # latents lively enough for rates like those of a trained model
        last = net.model.encoder.trunk[-1]
        assert isinstance(last, nn.Conv2d)  # for the type checker
        last.weight.mul_(6)
        for weight in (p for p in net.context.parameters() if p.ndim == 4):
            weight.pow_(3)  # as uneven as trained weights: uniform ones at int8 leave the exact range of the sums
    install(freeze(net, MODELS[name], [np.asarray(photograph(SIZE))]), MODELS[name], folder, {"default_realism": 1.0})
    os.environ[ENVIRONMENT] = str(folder)


def measure(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every case in every round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, work in cases.items():
            started = time.perf_counter()
            work()
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def report(times: dict[str, list[float]]) -> Record:
    """Print minima, medians and ratios; the same as a record."""
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name:32} min {min(values) * 1000:9.1f} ms  median {middle[name] * 1000:9.1f} ms")
    ratios = {side: {name: middle[HIFIC[side]] / middle[name] for name in names} for side, names in OURS.items()}
    for side, found in ratios.items():
        for name, ratio in found.items():
            print(f"{side}: {HIFIC[side]} takes {ratio:.1f}x of {name}")
    seconds = {name: {"min": min(v), "median": middle[name], "all": v} for name, v in times.items()}
    return {"seconds": seconds, "ratio_of_medians": ratios}


def worker(options: argparse.Namespace, folder: Path) -> int:
    """Measure in this process; 1 if what was built is not HiFiC. `folder` is for weights of an untrained model."""
    device, rounds, n, threads = options.device, options.rounds, options.n, options.threads
    from gancodec.models.inference import pick_device

    torch.set_num_threads(threads)
    built = architecture()
    if not check(built):
        return 1
    if options.untrained:
        install_untrained(options.untrained, folder)
    cases, file = our_cases(device, n)
    ours = our_costs(cases)
    print("ours  " + ", ".join(f"{name} {value:.2f}" for name, value in ours.items()))
    record = report(measure(hific_cases(pick_device(device)) | cases, rounds))
    about = {**machine(), "threads": threads, "device": device}
    if device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
    result = {"benchmark": "hific", "size": "x".join(map(str, SIZE)), "rounds": rounds, **record, "file": file}
    result |= {"hific": built, "ours": ours, **about}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement in a process whose libraries all start with the same number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--n", type=float, default=0.0, help="our rate knob")
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--untrained", metavar="MODEL", help="time this model with random weights, not the default one")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        with tempfile.TemporaryDirectory() as folder:
            return worker(options, Path(folder))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    command = [sys.executable, __file__, "--worker", *(sys.argv[1:] if arguments is None else arguments)]
    return subprocess.run(command, env=os.environ | dict.fromkeys(names, str(options.threads)), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
