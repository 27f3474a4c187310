"""Where people look: picture to a map in [0, 1]. Needs OpenCV's contributed modules."""

from gancodec.saliency.opencv import METHODS, saliency_map

__all__ = ["METHODS", "saliency_map"]
