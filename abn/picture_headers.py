"""What a picture's file says of itself, walked without a decoder: what costs far more than its size is found here.

Pillow copies what a tag points at for every tag, reads comments by adding each to those before, and passes over a
JPEG's pixels for every scan. A small file can so ask for all of a machine's memory, or a processor for minutes.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

MOST_SCANS = 100
"""Encoders write about ten; every scan of a progressive JPEG is a pass over all its pixels."""
MOST_PARTS = 50_000
"""Markers of a JPEG, blocks of a GIF before its first picture: each takes a moment here and in Pillow."""
MOST_COMMENTS = 256_000  # bytes of a GIF before its first picture
MOST_COPIES = 4
"""How many times its own size the values of a file's tags may take together."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_ORIENTATION = 0x0112
_BYTES_OF = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
}  # of a TIFF type
_WHOLE = {1: "B", 3: "H", 4: "I"}


class HeaderError(ValueError):
    """A file that asks for far more than it is; the message says of what, or is empty for one that is damaged."""


def require_modest(data: bytes, name: str) -> None:
    """Refuse a JPEG or GIF whose header asks for more than any picture needs.

    Args:
        name: Pillow's of the format.

    Raises:
        HeaderError: for one that does.
    """
    if name == "JPEG":
        _require_modest_jpeg(data)
    elif name == "GIF":
        _require_modest_gif(data)


def orientation(exif: bytes) -> int | None:
    """What a block of EXIF says of how the picture is to be turned, 1 to 8; None where it says nothing."""
    return _directory(exif)[0]


class Sparing(io.BytesIO):
    """A TIFF's bytes, which may be read `MOST_COPIES` times over and no more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MOST_COPIES * len(data) + 1_000_000

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._left -= len(content)
        if self._left < 0:
            raise HeaderError
        return content


def _directory(block: bytes) -> tuple[int | None, float]:
    """(orientation, how many bytes all values take) of a block's first directory (TIFF 6.0, section 2)."""
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        # Pillow would read the large kind of TIFF here too, which nobody writes into a picture.
        return None, float("inf") if block[:4] in (b"II+\0", b"MM\0+") else 0
    turn, total = None, 0
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", block, place)
            size = values * _BYTES_OF.get(kind, 0)
            if size > 4:  # it lies elsewhere
                (elsewhere,) = struct.unpack_from(f"{order}I", block, place + 8)
                if elsewhere + size > len(block):
                    break  # so does Pillow
            total += size
            if tag == _ORIENTATION and kind in _WHOLE and values:
                (turn,) = struct.unpack_from(f"{order}{_WHOLE[kind]}", block, place + 8)
    except struct.error:  # it ends within its table
        pass
    return turn, total


def _require_modest_jpeg(data: bytes) -> None:
    """ITU-T T.81, B.1.1: a marker is 0xFF and a byte; most have a length and as many bytes.

    In a scan's data 0xFF is followed by 0 or by the number of a restart. What follows the first picture's end, such
    as a phone's short film, does not count.
    """
    scans, exif = 0, b""
    for marker, content in _segments(data):
        scans += marker == 0xDA
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif += content[6:] if exif else content  # Pillow joins them too
        if marker == 0xE2 and content.startswith(b"MPF\0"):
            _require_few_copies(content[4:])
    _require_few_copies(exif)
    if scans > MOST_SCANS:
        raise HeaderError(f"consists of {scans:,} scans, and at most {MOST_SCANS} are read")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 2
    for _ in range(MOST_PARTS):
        found = _JPEG_MARKER.search(data, place)
        if found is None or found[0][1] == 0xD9:  # the end of the picture
            return
        marker, place = found[0][1], found.end()
        if marker == 0x01:  # for a coder's private use, without a length
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        yield marker, data[place + 2 : place + length]
        place += length
    raise HeaderError


def _require_few_copies(block: bytes) -> None:
    if _directory(block)[1] > MOST_COPIES * len(block):
        raise HeaderError


def _require_modest_gif(data: bytes) -> None:
    """GIF89a: a header, perhaps a table of colours, and blocks, of which extensions consist of smaller ones."""
    place = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    parts = comments = 0
    while data[place : place + 1] == b"!":
        comment = data[place + 1 : place + 2] == b"\xfe"
        place += 2
        while place < len(data) and (length := data[place]):
            place += 1 + length
            parts, comments = parts + 1, comments + length * comment
            if parts > MOST_PARTS or comments > MOST_COMMENTS:
                raise HeaderError
        place += 1
        parts += 1
        if parts > MOST_PARTS:
            raise HeaderError
