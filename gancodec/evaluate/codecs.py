"""Which codecs there are by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from gancodec import weights
from gancodec.errors import GicError, MissingWeights, UsageError
from gancodec.evaluate.contract import Codec, Peer
from gancodec.evaluate.ours import Ours
from gancodec.evaluate.peers import PEERS


def names() -> list[str]:
    """Every codec that can run here: the default model first, then the peers."""
    ours = [model.name for model in weights.available() if model.installed and model.default]
    return ours + [name for name, peer in PEERS.items() if _runs(peer)]


def _runs(make: Callable[[], Peer]) -> bool:
    try:
        make()
    except GicError:
        return False
    return True


def realisms(name: str, wanted: tuple[float, ...]) -> tuple[float, ...]:
    """The realisms to measure a codec at: 0 for a peer, and for a model without a natural end where 0 is wanted too
    (else it is refused later, by name)."""
    if name in PEERS:
        return (0.0,)
    asked = None if name == "gic" else name
    model = next((m for m in weights.available() if (m.default if asked is None else m.name == asked)), None)
    return (0.0,) if model is not None and model.default_realism is None and 0.0 in wanted else wanted


@lru_cache(maxsize=32)
def get(name: str, device: str = "auto", realism: float = 0.0) -> Codec:
    """Codec by name: a model of ours, "gic" for the default one, or a peer.

    Raises UsageError for unknown names, MissingExtra and MissingWeights where something is not installed.
    """
    if name in PEERS:
        return PEERS[name]()
    try:
        model = weights.find(None if name == "gic" else name)
    except MissingWeights as error:
        known = ", ".join(("gic", *(m.name for m in weights.available()), *PEERS))
        if name in {m.name for m in weights.available()}:
            raise
        raise UsageError(f"codec {name}: choose from {known}") from error
    return Ours(model, device, realism)
