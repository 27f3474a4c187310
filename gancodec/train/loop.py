"""The training loop: plain, on CPU (several single-thread workers) or CUDA, stops on time, resumes exactly.

All randomness of a step follows from (seed, step, worker), so a checkpoint needs no generator state and a resumed run
takes the same steps as an unbroken one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.nn  # see _leave
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from gancodec.errors import GicError, UsageError
from gancodec.models.recipe import Recipe
from gancodec.models.registry import config_of
from gancodec.train.compiled import compiled
from gancodec.train.data import Crops
from gancodec.train.perceptual import FeatureNetwork, load
from gancodec.train.recipes import RECIPES
from gancodec.train.signals import Signals
from gancodec.train.state import State, checkpoint_meta, networks
from gancodec.train.together import agreed, average, average_gradients

LAST = "last.safetensors"
VALIDATED = 6  # held-out pictures per validation
VALIDATION_NS = (2.0, 0.0, -2.0)
PATIENCE = timedelta(days=30)  # processes wait while the first one validates, and while a run is paused (SIGSTOP)
CROPS = 0x5EED  # of the seed
PREPARED, PREPARED_CROPS = 4, 16  # batches that an objective may look at before the first step, crops in each


@dataclass(frozen=True)
class Job:
    """What to train, on what, where to, for how long (`minutes`, `steps`, or whichever comes first)."""

    recipe: str
    data: Path
    out: Path
    start: Path | None = None  # averaged weights to start from, or, where they are of this recipe, to go on from
    resume: bool = False
    minutes: float = math.inf
    steps: int | None = None
    stop_at: int | None = None  # leave early, at this step of the schedule that `steps` or `minutes` sets
    backbones: Path | None = None  # folder of the feature networks that objectives name
    workers: int = 1
    distributed: bool = False  # one of the processes that torchrun started
    device: str = "cpu"
    compile: bool = False  # the losses, with torch.compile
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
    given = job.start is not None and (job.start.is_file() or (job.start / "ema-00.safetensors").is_file())
    at = checkpoint_meta(job.start) if job.start is not None and given and not job.resume else {}
    if job.steps is not None and at.get("recipe") == job.recipe and int(at.get("step", 0)) >= job.steps:
        raise UsageError(f"{job.start}: at step {at['step']} of {job.steps} already, and --start goes on there")
    if not job.data.exists() or not any(job.data.iterdir()):
        raise UsageError(f"{job.data}: no pictures")
    job.out.mkdir(parents=True, exist_ok=True)
    if job.distributed:
        _join_torchrun(job)
    elif job.workers == 1:
        _work(0, job).leave()
    else:
        _spawn_workers(job)
    return job.out / LAST


def _spawn_workers(job: Job) -> None:
    """Several CPU processes on this machine; SIGTERM is passed on to them."""
    with tempfile.TemporaryDirectory() as meeting, Signals() as signals:
        running = spawn(_join_workers, (job, f"file://{meeting}/store"), nprocs=job.workers, join=False)
        told = False
        try:
            while not running.join(timeout=1):
                if signals.ended and not told:
                    told = True
                    for process in running.processes:
                        process.terminate()
        except ProcessExitedException:  # one that had not begun yet
            if not signals.ended:
                raise
        except ProcessRaisedException as error:
            if not signals.ended:
                raise
            raise GicError(f"ended, but a worker failed: {str(error).strip().splitlines()[-1]}") from error
    signals.leave()


def _join_workers(rank: int, job: Job, meeting: str) -> None:
    """One of several CPU processes on this machine."""
    torch.set_num_threads(1)  # two single-thread workers beat one two-thread process
    dist.init_process_group("gloo", timeout=PATIENCE, init_method=meeting, rank=rank, world_size=job.workers)
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
    dist.init_process_group("gloo" if job.device == "cpu" else "nccl", timeout=PATIENCE)
    signals = _work(dist.get_rank(), job)
    _leave()
    signals.leave()


def _leave() -> None:
    """Wait for the others, then end the group's threads: one that outlives the interpreter aborts the process.

    torch.distributed.nn, which optimisers import, keeps the group that exists at its import as a default argument for
    good. Imported before there is one, it keeps none, and destroying the group ends its threads.
    """
    dist.barrier()
    dist.destroy_process_group()


def _work(rank: int, job: Job) -> Signals:
    """Train until the run is over, or SIGTERM ends it after the step in hand; either way the last step is saved."""
    recipe, device = RECIPES[job.recipe], torch.device(job.device)
    features = _features(recipe, job, device)
    state = State(job.recipe, device, job.seed, job.start)
    losses_of = compiled(recipe.objective, job.recipe, device) if job.compile else recipe.objective.losses
    crops = Crops(job.data, recipe.crop, device)
    if job.resume:
        state.load(job.out / LAST)
    elif state.step == 0:
        generators = (torch.Generator().manual_seed(job.seed + i) for i in range(PREPARED))
        recipe.objective.prepare(state.net, (crops.batch(PREPARED_CROPS, generator) for generator in generators))
        state.ema |= {k: v.detach().clone() for k, v in state.net.named_buffers() if k in state.ema}
    log: list[dict[str, Tensor]] = []
    ended = False  # as all processes have agreed: each may have been told at another step
    with Signals() as signals:
        while not (_finished(job, state) or ended):
            log.append(_step(state, recipe, job, losses_of, crops, features, rank))
            seconds = state.seconds + signals.worked(state.seconds / (state.step - 1) if state.step > 1 else None)
            state.seconds, computed, ended = agreed(seconds, signals.computed(), signals.ended, device)
            state.cpu_seconds += computed
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
    signals.ended = ended
    return signals


def _features(recipe: Recipe, job: Job, device: torch.device) -> FeatureNetwork | None:
    """The feature network that a recipe needs, if any; UsageError without it, or without a trained model to go on
    from."""
    objective = recipe.objective
    if recipe.only and job.start is None and not job.resume:
        raise UsageError(f"{job.recipe} begins with a trained model: name its checkpoint with --start")
    return None if objective.features is None else load(job.backbones, objective.features).to(device)


def _progress(job: Job, state: State) -> float:
    by_step = state.step / job.steps if job.steps else 0.0
    return max(by_step, state.seconds / (job.minutes * 60))


def _finished(job: Job, state: State) -> bool:
    return _progress(job, state) >= 1 or state.step == job.stop_at


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Linear warm-up, then from `rate` down to `final_rate` over the whole run, as the recipe's schedule has it."""
    share = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))) if recipe.schedule == "cosine" else progress < 0.5
    return min(1.0, (step + 1) / recipe.warmup) * (recipe.final_rate + (recipe.rate - recipe.final_rate) * share)


def step_seed(*numbers: int) -> int:
    """31 bits that follow from seed, step and worker, the same on every machine and in every Python."""
    mixed = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=4).digest()
    return int.from_bytes(mixed, "little") & 0x7FFFFFFF


def _step(
    state: State,
    recipe: Recipe,
    job: Job,
    losses_of: Callable[..., dict[str, Tensor]],
    crops: Crops,
    features: FeatureNetwork | None,
    rank: int,
) -> dict[str, Tensor]:
    """One step of all optimisers; the losses by name."""
    seed = step_seed(job.seed, state.step, rank)
    torch.manual_seed(seed)
    # Seeded apart, or the numbers that choose the crops would also choose n and the levels.
    x = crops.batch(recipe.batch, torch.Generator().manual_seed(seed ^ CROPS))
    for rates in (rates for optimiser in state.optimisers for rates in optimiser.param_groups):
        rates["lr"] = learning_rate(recipe, state.step, _progress(job, state))
    before = [b.clone() for b in state.statistics]
    losses = losses_of(state.net, features, x, _progress(job, state))
    for optimiser in state.optimisers:
        optimiser.zero_grad()
    losses["loss"].backward()
    groups = state.net.parameter_groups()
    average_gradients([p for group in groups for p in group])
    norms = [nn.utils.clip_grad_norm_(group, recipe.clip) for group in groups]
    if all(torch.isfinite(norm) for norm in norms):  # a rare overflow must not poison weights or statistics
        for optimiser in state.optimisers:
            optimiser.step()
        average(state.statistics)
    else:
        for b, old in zip(state.statistics, before, strict=True):
            b.copy_(old)
    state.step += 1
    state.average(min(recipe.ema, state.step / (state.step + 10)))
    return {k: v.detach() for k, v in losses.items()}


def _report(job: Job, state: State, log: list[dict[str, Tensor]]) -> None:
    means = {k: float(torch.stack([losses[k] for losses in log]).mean()) for k in log[0]}
    spent = {"seconds": round(state.seconds, 1), "cpu_hours": round(state.cpu_seconds / 3600, 6)}
    _log(job, {"step": state.step, **spent, **{k: round(v, 5) for k, v in means.items()}})
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
    realism = recipe.objective.realism
    results = validate(net.eval(), config_of(recipe.model), crops.held_out[:VALIDATED], VALIDATION_NS, realism)
    for n, measured in zip(VALIDATION_NS, results, strict=True):
        figures = {k: round(v, 5) for k, v in measured._asdict().items()}
        _log(job, {"step": state.step, "validation_n": n, "validation_realism": realism, **figures})
