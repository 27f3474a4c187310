"""XMP: its orientation, and claims of what is no longer with the picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice

TIFF = b"http://ns.adobe.com/tiff/1.0/"
GOOGLE, XIAOMI = b"http://ns.google.com/photos/", b"http://ns.xiaomi.com/photos/1.0/"
# Name spaces and those of their properties (regular expressions) that tell of a video or of pictures behind this one.
CLAIMS = {
    GOOGLE + b"1.0/camera/": rb"(MotionPhoto|MicroVideo).*",
    GOOGLE + b"1.0/container/": rb"Directory",
    GOOGLE + b"dd/1.0/container/": rb"Directory",
    GOOGLE + b"1.0/depthmap/": rb".*",
    GOOGLE + b"1.0/image/": rb".*",
    GOOGLE + b"1.0/audio/": rb".*",
    b"http://ns.oplus.com/photos/1.0/camera/": rb".*(Video|MotionPhoto).*",
    XIAOMI + b"camera/": rb"XMPMeta|.*(Video|MotionPhoto).*",
    b"http://ns.adobe.com/hdr-gain-map/1.0/": rb".*",
    b"http://ns.apple.com/HDRGainMap/1.0/": rb".*",
    b"http://ns.adobe.com/xmp/note/": rb"HasExtendedXMP",
}
MOST_PREFIXES, MOST_CLAIMS = 4, 1 << 9  # of a name space, of a prefix; strangers' files must not take their time


def orientation(xmp: bytes) -> int | None:
    """1..8 where it is stated."""
    found = next(filter(None, (pattern.search(xmp) for pattern in _orientations(xmp))), None)
    return int(found[2]) if found else None


def upright(xmp: bytes) -> bytes:
    """The same with an orientation of 1."""
    for pattern in _orientations(xmp):
        xmp = pattern.sub(rb"\g<1>1", xmp)
    return xmp


def without_claims(xmp: bytes) -> bytes:
    """The same, byte for byte, but for properties that tell of what no .gic file holds: the video of a motion photo,
    a gain map, further pictures, the rest of an XMP that was longer than a segment."""
    for space, properties in CLAIMS.items():
        is_claim = re.compile(properties).fullmatch
        for prefix in _prefixes(xmp, space):
            if b"%b:Data" % prefix in xmp:  # what it tells of is here
                continue
            xmp = _without_attributes(xmp, prefix, is_claim)
            xmp = _without_elements(xmp, prefix, is_claim)
    return xmp


def _prefixes(xmp: bytes, space: bytes) -> list[bytes]:
    """Those that stand for a name space, the first few."""
    found = re.findall(rb"""xmlns:([\w.-]{1,64})\s*=\s*["']%b["']""" % re.escape(space), xmp)
    return list(dict.fromkeys(found))[:MOST_PREFIXES]


def _orientations(xmp: bytes) -> list[re.Pattern[bytes]]:
    """Patterns of the property as attribute or as element: what stands before its value, and the value."""
    prefixes = _prefixes(xmp, TIFF) or ([] if b"xmlns:tiff" in xmp else [b"tiff"])  # of a fragment
    before = rb"""(\b%b:Orientation(?:\s*=\s*["']\s*|(?:\s[^<>]{0,256})?>\s*))([1-8])(?=\s*["'<])"""
    return [re.compile(before % re.escape(prefix)) for prefix in prefixes]


def _without_attributes(xmp: bytes, prefix: bytes, is_claim: Callable[[bytes], object]) -> bytes:
    """Without the attributes of a prefix that are claims."""

    def left(found: re.Match[bytes]) -> bytes:
        return b"" if is_claim(found[1]) else found[0]

    return re.sub(rb"""\s%b:(\w{1,64})\s*=\s*("[^"]*"|'[^']*')""" % re.escape(prefix), left, xmp)


def _without_elements(xmp: bytes, prefix: bytes, is_claim: Callable[[bytes], object]) -> bytes:
    """Without the elements of a prefix that are claims, and what is in them."""
    kept, place = [], 0
    openings = re.finditer(rb"<(%b:(\w{1,64}))(?=[\s/>])[^<>]*>" % re.escape(prefix), xmp)
    for opening in islice((found for found in openings if is_claim(found[2])), MOST_CLAIMS):
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
