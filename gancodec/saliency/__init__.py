"""Where people look, and what they must be able to read: picture to a map in [0, 1]. Needs OpenCV's contributed
modules."""

from gancodec.saliency.opencv import METHODS, saliency_map
from gancodec.saliency.protect import DETECTORS, protection_map

__all__ = ["DETECTORS", "METHODS", "protection_map", "saliency_map"]
