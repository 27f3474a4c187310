"""XMP: its orientation, and claims of what is no longer with the picture."""

from __future__ import annotations

import re

# The property as attribute or as element.
ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))([1-8])""")
# Name spaces and those of their properties (regular expressions) that tell of a video or of pictures behind this one.
CLAIMS = {
    b"http://ns.google.com/photos/1.0/camera/": rb"(?:MotionPhoto|MicroVideo)\w*",
    b"http://ns.google.com/photos/1.0/container/": rb"Directory",
    b"http://ns.oplus.com/photos/1.0/camera/": rb"\w*(?:Video|MotionPhoto)\w*",
    b"http://ns.xiaomi.com/photos/1.0/camera/": rb"\w*(?:Video|MotionPhoto)\w*",
    b"http://ns.adobe.com/hdr-gain-map/1.0/": rb"\w+",
    b"http://ns.adobe.com/xmp/note/": rb"HasExtendedXMP",
}


def orientation(xmp: bytes) -> int | None:
    """1..8 where it is stated."""
    found = ORIENTATION.search(xmp)
    return int(found[2]) if found else None


def upright(xmp: bytes) -> bytes:
    """The same with an orientation of 1."""
    return ORIENTATION.sub(rb"\g<1>1", xmp)


def without_claims(xmp: bytes) -> bytes:
    """The same, byte for byte, but for properties that tell of what no .gic file holds: the video of a motion photo,
    a gain map, further pictures, the rest of an XMP that was longer than a segment."""
    for space, properties in CLAIMS.items():
        for prefix in set(re.findall(rb"""xmlns:([\w.-]+)\s*=\s*["']%b["']""" % re.escape(space), xmp)):
            name = rb"%b:%b" % (re.escape(prefix), properties)
            xmp = re.sub(rb"""\s+%b\s*=\s*("[^"]*"|'[^']*')""" % name, b"", xmp)
            xmp = re.sub(rb"<(%b)(?:\s[^<>]*)?(?:/>|>.*?</\1\s*>)" % name, b"", xmp, flags=re.DOTALL)
    return xmp
