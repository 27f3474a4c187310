"""XMP: its orientation, and claims of what is no longer with the picture."""

from __future__ import annotations

import re
from itertools import islice

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
MOST_PREFIXES, MOST_CLAIMS = 4, 1 << 9  # of a name space, of a name; strangers' files must not take their time


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
        prefixes = re.findall(rb"""xmlns:([\w.-]+)\s*=\s*["']%b["']""" % re.escape(space), xmp)
        for prefix in list(dict.fromkeys(prefixes))[:MOST_PREFIXES]:
            name = rb"%b:(?:%b)" % (re.escape(prefix), properties)
            xmp = re.sub(rb"""\s%b\s*=\s*("[^"]*"|'[^']*')""" % name, b"", xmp)
            xmp = _without_elements(xmp, name)
    return xmp


def _without_elements(xmp: bytes, name: bytes) -> bytes:
    """Without the elements of a name (regular expression) and what is in them."""
    kept, place = [], 0
    for opening in islice(re.finditer(rb"<(%b)(?=[\s/>])[^<>]*>" % name, xmp), MOST_CLAIMS):
        if opening.start() < place:
            continue
        end = opening.end()
        if not opening[0].endswith(b"/>"):
            closing = xmp.find(b"</%b" % opening[1], end)
            end = xmp.find(b">", closing) + 1 if closing >= 0 else 0
        if end:
            kept.append(xmp[place : opening.start()])
            place = end
    return b"".join((*kept, xmp[place:]))
