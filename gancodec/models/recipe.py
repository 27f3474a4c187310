"""What a training recipe is: rates, batch and schedule, and an objective. Importing this needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    Distance = Callable[[Tensor, Tensor], Tensor]  # perceptual, of pictures (B, 3, H, W) in [0, 1]: (B,)

N = TypeVar("N")


class Objective(ABC, Generic[N]):
    """What a step minimises, and the networks N that it trains: a small frozen value for each way of training.

    Attributes
    ----------
    realism : float
        What its validations decode with.
    """

    realism: ClassVar[float] = 0.0

    @property
    def features(self) -> str | None:
        """Name of the distance that it needs (`train.perceptual`), if any."""
        return None

    @property
    def unfinished(self) -> str | None:
        """Why no weights can be made of the networks, if so."""
        return None

    @abstractmethod
    def networks(self, model: str) -> N:
        """The networks of a model, with random weights."""

    @abstractmethod
    def losses(self, net: N, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        """Scalars of crops x (B, 3, H, W) in [0, 1] when `progress` (0 .. 1) of the run is over: the `loss` to
        minimise, and its parts by name. Networks are computed in bfloat16 where they can be."""

    def phase(self, progress: float) -> float | None:
        """A progress at which the losses are computed as they are at this one, out of a few: what is compiled, is
        compiled for one. None, where they change from step to step and so cannot be compiled."""
        return None

    def prepare(self, net: N, batches: Iterable[Tensor]) -> None:
        """Set what has to be set from a few batches before the first step, if anything."""


@dataclass(frozen=True)
class Recipe:
    """One training job.

    Attributes
    ----------
    model : str
        Name in `models.registry.MODELS`.
    objective : Objective
    crop, batch : int
        Side of the square crops (a multiple of 64) and crops per step and worker.
    rate, final_rate : float
        Peak learning rate and what the schedule ends at.
    schedule : {"cosine", "halves"}
        How the rate falls: along a cosine, or in one step when half of the run is over.
    warmup : int
        Steps in which the rate grows from 0.
    clip : float
        Largest norm of the gradients of a group of parameters.
    ema : float
        Decay of the averaged weights, a step.
    held_at_zero : tuple of str
        Parameters whose names begin so are 0 and stay 0.
    only : tuple of str
        Where given, parameters whose names begin so are trained, and no others: the run goes on from a trained model,
        and entropy arrays that are released stay as they are.
    """

    model: str
    objective: Objective[Any]
    crop: int = 192
    batch: int = 8
    rate: float = 1e-3
    final_rate: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.998
    held_at_zero: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
