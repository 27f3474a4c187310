"""The one list that knows all models. Without torch."""

from __future__ import annotations

from gancodec.models.gic1 import config as gic1
from gancodec.models.gic1.config import TunableConfig
from gancodec.models.wu2019 import config as wu2019
from gancodec.models.wu2019.config import Wu2019Config

Config = TunableConfig | Wu2019Config
MODELS: dict[str, Config] = {
    c.name: c
    for c in (
        gic1._FULL,
        gic1._SMALL,
        gic1._SMALL_2,
        wu2019._WU2019,
        wu2019._WU2019_SMALL,
        gic1._TINY,
        wu2019._WU2019_TINY,
    )
}
