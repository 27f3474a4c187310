"""Picture file to `Picture` and back: `reading` with what `formats` knows of a file, `metadata` of it, `writing`."""

from gancodec.imageio.metadata import METADATA_LIMIT, TURNS, tiff_exif
from gancodec.imageio.reading import MAX_PIXELS, facts_of, from_image, load
from gancodec.imageio.writing import save, to_image

__all__ = ["MAX_PIXELS", "METADATA_LIMIT", "TURNS", "facts_of", "from_image", "load", "save", "tiff_exif", "to_image"]
