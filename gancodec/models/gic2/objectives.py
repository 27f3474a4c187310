"""How gic2 is trained. Importing this needs no torch.

S1 is rate-distortion at one level a picture; S2 goes on with maps of levels and the integers that files are made of,
and at its end with the matrices that decoders have. A part of the crops counts once more by what the natural end of the
receiver makes of them: a sender that never heard of it leaves it little.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gancodec.models.gic2.config import Gic2Config
from gancodec.models.levels import BALANCE, LAMBDA_CENTRE, LEVELS
from gancodec.models.recipe import Objective
from gancodec.models.registry import config_as

if TYPE_CHECKING:
    from torch import Tensor

    from gancodec.models.gic2.training import Trained
    from gancodec.models.recipe import Distance


@dataclass(frozen=True)
class RateDistortion(Objective["Trained"]):
    """R + lambda * D of the faithful end, and a little of the natural one.

    quantised : with maps of levels and integer rows (S2)?
    mse, ms_ssim : D = mse * MSE (8-bit units) + ms_ssim * (1 - MS-SSIM)
    natural : weight of the natural end, for which D counts `natural_d` and the feature distance `perceptual`; 0 without
    share : of the crops that it sees
    rounded_from : share of the run after which the decoder's matrices are those that are shipped
    """

    quantised: bool = False
    mse: float = 0.25
    ms_ssim: float = 1000.0
    natural: float = 0.5
    natural_d: float = 0.3
    perceptual: float = 600.0
    share: float = 0.125
    rounded_from: float = 0.7

    @property
    def features(self) -> str | None:
        return "wasserstein of vgg19_16x.safetensors" if self.natural else None

    @property
    def unfinished(self) -> str | None:
        """S1 has rows that are not integer yet."""
        return None if self.quantised else "only recipes with integer symbols make weights (from S2 on)"

    def networks(self, model: str) -> Trained:
        """The model and its natural end."""
        from gancodec.models.gic2.training import Trained

        return Trained(config_as(model, Gic2Config))

    def prepare(self, net: Trained, batches: Iterable[Tensor]) -> None:
        """Switch channels off where they say nothing."""
        if self.quantised:
            net.switch_channels(batches)

    def phase(self, progress: float) -> float:
        """Before the matrices are rounded, and after."""
        return float(self.quantised and progress >= self.rounded_from)

    def losses(self, net: Trained, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        import torch

        from gancodec.models.gic2.training import coded_latents, one_level, weighted_distortion
        from gancodec.models.layers import half_precision
        from gancodec.models.losses import random_levels

        net.round_matrices(self.quantised and progress >= self.rounded_from)
        model, kind = net.model, x.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            latent = model.sender(x)
            hyper, importance = model.hyper_encoder(latent), model.masker(latent)
            level, weight = (random_levels if self.quantised else one_level)(importance)
            coded = coded_latents(model, latent, hyper, level, self.quantised)
            position = level / (LEVELS - 1)
            body, content = model.receiver.begin(coded.latents, position)
            decoded = model.receiver.end(body, content, position)
        distortion, squared, ms_ssim = weighted_distortion(decoded, x, weight, self.mse, self.ms_ssim)
        bpp, rounded = (bits / (x.shape[2] * x.shape[3]) for bits in coded[1:])
        balance = (weight.mean((1, 2)) / LAMBDA_CENTRE) ** BALANCE
        loss = ((bpp + distortion) * balance).mean()
        losses = {"bpp": rounded.mean(), "mse": squared.mean(), "ms_ssim": ms_ssim.mean()}
        if self.natural:
            assert features is not None
            some = slice(max(1, round(self.share * len(x))))
            with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
                lively = net.natural(body[some], content[some], position[some]).float()
            apart = features(lively.permute(0, 3, 1, 2).contiguous(), x[some].contiguous())
            moved = weighted_distortion(lively, x[some], weight[some], self.mse, self.ms_ssim)[0]
            both = self.natural_d * moved + self.perceptual * apart * weight[some].mean((1, 2))
            loss = loss + self.natural * (both * balance[some]).mean()
            losses["features"] = apart.mean()
        return {"loss": loss, **losses}
