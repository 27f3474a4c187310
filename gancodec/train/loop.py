"""The training loop: plain, on CPU (several single-thread workers) or CUDA, stops on time, resumes exactly.

All randomness of a step follows from (seed, step, worker), so a checkpoint needs no generator state and a resumed run
takes the same steps as an unbroken one.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.nn  # see _leave
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from gancodec.errors import UsageError
from gancodec.models.gic1.training.adversarial import AdversarialParts, adversarial
from gancodec.models.gic1.training.losses import Parts, rate_distortion
from gancodec.models.gic1.training.masking import MaskingParts, masking
from gancodec.models.gic1.training.networks import Trained
from gancodec.models.recipe import Recipe
from gancodec.models.wu2019.training import Wu2019Parts, Wu2019Trained, wu2019
from gancodec.train.data import Crops
from gancodec.train.perceptual import FeatureNetwork, load
from gancodec.train.recipes import RECIPES
from gancodec.train.state import State, networks, prepare_quantisation

LAST = "last.safetensors"
VALIDATED = 6  # held-out pictures per validation
VALIDATION_NS = (2.0, 0.0, -2.0)
CROPS = 0x5EED  # of the seed
Losses = Parts | AdversarialParts | MaskingParts | Wu2019Parts


@dataclass(frozen=True)
class Job:
    """What to train, on what, where to, for how long (`minutes`, `steps`, or whichever comes first)."""

    recipe: str
    data: Path
    out: Path
    start: Path | None = None  # checkpoint whose EMA weights the run starts from
    resume: bool = False
    minutes: float = math.inf
    steps: int | None = None
    stop_at: int | None = None  # leave early, at this step of the schedule that `steps` or `minutes` sets
    backbones: Path | None = None  # folder of the feature networks that S3 needs
    workers: int = 1
    distributed: bool = False  # one of the processes that torchrun started
    device: str = "cpu"
    seed: int = 0
    log_every: int = 100
    save_every: int = 1000
    validate_every: int | None = None  # steps; encodes and decodes real files, so it costs seconds to minutes


def train(job: Job) -> Path:
    """Run `job`; returns the last checkpoint. UsageError for an unknown recipe or unusable data."""
    if job.recipe not in RECIPES:
        raise UsageError(f"unknown recipe {job.recipe}; known: {', '.join(RECIPES)}")
    if job.workers < 1 or (job.distributed and job.workers > 1):
        raise UsageError("--workers: at least 1, and not beside --distributed, which has torchrun's processes")
    if job.minutes <= 0 or (job.steps is not None and job.steps <= 0):
        raise UsageError("--minutes and --steps must be above 0")
    for path in (job.start, job.out / LAST if job.resume else None):
        if path is not None and not path.exists():
            raise UsageError(f"{path}: no such checkpoint")
    if not job.data.exists() or not any(job.data.iterdir()):
        raise UsageError(f"{job.data}: no pictures")
    job.out.mkdir(parents=True, exist_ok=True)
    if job.distributed:
        _join_torchrun(job)
    elif job.workers == 1:
        _work(0, job)
    else:
        with tempfile.TemporaryDirectory() as meeting:
            spawn(_join_workers, (job, f"file://{meeting}/store"), nprocs=job.workers)
    return job.out / LAST


def _join_workers(rank: int, job: Job, meeting: str) -> None:
    """One of several CPU processes on this machine."""
    torch.set_num_threads(1)  # two single-thread workers beat one two-thread process
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=job.workers)
    _work(rank, job)
    _leave()


def _join_torchrun(job: Job) -> None:
    """One of the processes that torchrun started; each takes the GPU of its number.

    On several machines the folders of data, checkpoint and output must be the same ones everywhere.
    """
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys():
        raise UsageError("--distributed is for torchrun: torchrun --nproc-per-node N -m gancodec.train RECIPE ...")
    if job.device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
        job = replace(job, device=device)
    patience = timedelta(hours=1)  # the others wait while the first one validates
    dist.init_process_group("gloo" if job.device == "cpu" else "nccl", timeout=patience)
    _work(dist.get_rank(), job)
    _leave()


def _leave() -> None:
    """Wait for the others, then end the group's threads: one that outlives the interpreter aborts the process.

    torch.distributed.nn, which optimisers import, keeps the group that exists at its import as a default argument for
    good. Imported before there is one, it keeps none, and destroying the group ends its threads.
    """
    dist.barrier()
    dist.destroy_process_group()


def _work(rank: int, job: Job) -> None:
    recipe, device = RECIPES[job.recipe], torch.device(job.device)
    objective = Objective.of(recipe, job, device)
    state = State(recipe, device, job.seed, job.start)
    crops = Crops(job.data, recipe.crop, device)
    if job.resume:
        state.load(job.out / LAST)
    elif recipe.stage == 2:
        assert isinstance(state.net, Trained)  # for the type checker: recipes of this stage have one
        prepare_quantisation(state.net, crops, job.seed)
        state.ema |= {k: v.detach().clone() for k, v in state.net.context.named_buffers(prefix="context")}
    begin = time.monotonic() - state.seconds
    log: list[Losses] = []
    while not _finished(job, state):
        log.append(_step(state, recipe, job, crops, objective, rank))
        state.seconds = _shared_clock(time.monotonic() - begin, device)
        if state.step % job.log_every == 0:
            if rank == 0:
                _report(job, state, log)
            log.clear()
        if state.step % job.save_every == 0:
            crops.refresh()
            if rank == 0:
                state.save(job.out / LAST)
        if rank == 0 and job.validate_every and state.step % job.validate_every == 0:
            _validate(job, state, crops)
    if rank == 0:
        state.save(job.out / LAST)


@dataclass(frozen=True)
class Objective:
    """What a step minimises: the losses of a recipe's stage."""

    recipe: Recipe
    features: FeatureNetwork | None

    @staticmethod
    def of(recipe: Recipe, job: Job, device: torch.device) -> Objective:
        """Objective of a recipe; UsageError where S3 or S4 lacks its checkpoint or feature network."""
        if recipe.stage < 3:
            return Objective(recipe, None)
        if job.start is None and not job.resume:
            raise UsageError(f"{job.recipe} begins with a trained model: name its checkpoint with --start")
        return Objective(recipe, load(job.backbones, recipe.features).to(device))

    def __call__(self, net: Trained | Wu2019Trained, x: Tensor, progress: float) -> Losses:
        """Losses of a batch x (B, 3, H, W) in [0, 1] when `progress` (0 .. 1) of the run is over."""
        if isinstance(net, Wu2019Trained):
            return wu2019(net, x, self.recipe, progress, bf16=True)
        if self.features is None:
            return rate_distortion(net.model, net.context, x, self.recipe, bf16=True)
        if self.recipe.stage == 4:
            return masking(net, self.features, x, self.recipe, bf16=True)
        return adversarial(net, self.features, x, self.recipe, min(1.0, progress / self.recipe.ramp), bf16=True)


def _progress(job: Job, state: State) -> float:
    by_step = state.step / job.steps if job.steps else 0.0
    return max(by_step, state.seconds / (job.minutes * 60))


def _finished(job: Job, state: State) -> bool:
    return _progress(job, state) >= 1 or state.step == job.stop_at


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Linear warm-up, then from `rate` down to `final_rate` over the whole run, as the recipe's schedule has it."""
    share = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))) if recipe.schedule == "cosine" else progress < 0.5
    return min(1.0, (step + 1) / recipe.warmup) * (recipe.final_rate + (recipe.rate - recipe.final_rate) * share)


def _step(state: State, recipe: Recipe, job: Job, crops: Crops, objective: Objective, rank: int) -> Losses:
    seed = hash((job.seed, state.step, rank)) & 0x7FFFFFFF  # hashes of integers are the same everywhere
    torch.manual_seed(seed)
    # Seeded apart, or the numbers that choose the crops would also choose n and the levels.
    x = crops.batch(recipe.batch, torch.Generator().manual_seed(seed ^ CROPS))
    for group in (group for optimiser in state.optimisers for group in optimiser.param_groups):
        group["lr"] = learning_rate(recipe, state.step, _progress(job, state))
    statistics = [b for k, b in state.net.named_buffers() if k.endswith(("running_mean", "running_var"))]
    before = [b.clone() for b in statistics]
    parts = objective(state.net, x, _progress(job, state))
    for optimiser in state.optimisers:
        optimiser.zero_grad()
    parts.loss.backward()
    teams = state.net.teams()
    _average_gradients([p for team in teams for p in team])
    norms = [nn.utils.clip_grad_norm_(team, recipe.clip) for team in teams]
    if all(torch.isfinite(norm) for norm in norms):  # a rare overflow must not poison weights or statistics
        for optimiser in state.optimisers:
            optimiser.step()
        _average(statistics)
    else:
        for b, old in zip(statistics, before, strict=True):
            b.copy_(old)
    state.step += 1
    decay = min(recipe.ema, state.step / (state.step + 10))
    for name, value in state.net.state_dict().items():
        if value.is_floating_point():  # batch normalisation also counts its batches
            state.ema[name].lerp_(value, 1 - decay)
    return parts._replace(**{k: v.detach() for k, v in parts._asdict().items()})


def _average_gradients(parameters: list[nn.Parameter]) -> None:
    """Mean gradients over all processes: every process then takes the same step."""
    if dist.is_initialized():
        for p in parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        _average([p.grad for p in parameters if p.grad is not None])


@torch.no_grad()
def _average(tensors: list[Tensor]) -> None:
    """Mean over all processes, in place and in one message: the models are small."""
    if not dist.is_initialized() or not tensors:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for t, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(mean.view_as(t))


def _shared_clock(seconds: float, device: torch.device) -> float:
    """All processes must agree on when to stop: the first one's clock counts."""
    if not dist.is_initialized():
        return seconds
    clock = torch.tensor([seconds], dtype=torch.float64, device=device)
    dist.broadcast(clock, 0)
    return float(clock)


def _report(job: Job, state: State, log: list[Losses]) -> None:
    means = {k: float(torch.stack([getattr(p, k) for p in log]).mean()) for k in log[0]._fields}
    _log(job, {"step": state.step, "seconds": round(state.seconds, 1), **{k: round(v, 5) for k, v in means.items()}})
    (job.out / "job.json").write_text(json.dumps({k: str(v) for k, v in asdict(job).items()}, indent=1))


def _log(job: Job, record: dict[str, object]) -> None:
    with (job.out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _validate(job: Job, state: State, crops: Crops) -> None:
    """Freeze the EMA weights as they are and log what real files of held-out pictures reach."""
    from gancodec.train.freeze import validate  # needs the entropy coder, which training itself does not

    recipe = RECIPES[job.recipe]
    net = networks(recipe)
    net.load_state_dict({k: v.cpu() for k, v in state.ema.items()})
    realism = 0.0 if recipe.stage < 3 else 1.0  # what S3 trains; the faithful end is frozen then
    results = validate(net.eval(), net.model.config, crops.held_out[:VALIDATED], VALIDATION_NS, realism)
    for n, measured in zip(VALIDATION_NS, results, strict=True):
        figures = {k: round(v, 5) for k, v in measured._asdict().items()}
        _log(job, {"step": state.step, "validation_n": n, "validation_realism": realism, **figures})
