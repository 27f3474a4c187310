"""Where people look, and what they must be able to read: picture to a map in [0, 1].

The methods need optional packages (OpenCV's contributed modules, transformers, captum), imported when they are used.
"""

from gancodec.saliency.mask import adaptive_mask
from gancodec.saliency.methods import METHODS, check_method, saliency_map
from gancodec.saliency.protect import DETECTORS, check_names, protection_map

__all__ = [
    "DETECTORS",
    "METHODS",
    "adaptive_mask",
    "check_method",
    "check_names",
    "protection_map",
    "saliency_map",
]
