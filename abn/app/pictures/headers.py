"""What a picture's file says of itself, walked without a decoder: what costs far more than its size is found here.

Pillow copies what a tag points at for every tag, reads comments by adding each to those before, and passes over a
JPEG's pixels for every scan. A small file can so ask for all of a machine's memory, or a processor for minutes.
"""

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress

MOST_SCANS = 100
"""Encoders write about ten; every scan of a progressive JPEG is a pass over all its pixels."""
MOST_PARTS = 50_000
"""Markers of a JPEG, blocks of a GIF before its first picture: each takes a moment here and in Pillow."""
MOST_COMMENTS = 256_000  # bytes of a GIF before its first picture
MOST_COPIES = 4
"""How many times a TIFF may be read."""
LARGEST_TILES = 100_000_000
"""Pixels of a TIFF's tiles together, which are decoded whole however little of them is in the picture."""
SMALL_TILES = 32_000_000  # such pixels that are taken of any picture
WIDEST_ENCODED = 65_535
"""Pixels across of a BMP that is run-length encoded: a few of its bytes may skip 255 lines, which Pillow fills."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_JPEG_TAGS = re.compile(rb"\xff(?:\xe1..(?=Exif\0\0)|\xe2..(?=MPF\0))", re.DOTALL)
"""The head of a segment with tags, wherever it stands: what is compressed has no such bytes."""
_WITHOUT_LENGTH = {0x01, 0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)}  # as Pillow reads them
_ORIENTATION = 0x0112
_WHOLE = {1: "B", 3: "H", 4: "I"}  # types of a TIFF
_WIDTH, _HEIGHT, _STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 256, 257, 273, 322, 323, 324  # tags of a TIFF


class HeaderError(ValueError):
    """A file that asks for far more than it is; the message says of what, or is empty for one that is damaged."""


def tamed(data: bytes, name: str) -> tuple[bytes, bytes]:
    """What to give to Pillow in place of a file, and a JPEG's EXIF, which is taken out of it; else no bytes.

    Args:
        name: Pillow's of the format.

    Raises:
        HeaderError: for a file whose header asks for more than any picture needs.
    """
    if name in _REQUIREMENTS:
        _REQUIREMENTS[name](data)
    if name != "JPEG":
        return data, b""
    _require_few_scans(data)
    exif = b""
    for found in _JPEG_TAGS.finditer(data):
        if found[0][1] == 0xE1:  # of several, the first has the table
            exif = data[found.end() : found.start() + 2 + int.from_bytes(found[0][2:4], "big")]
            break
    return _JPEG_TAGS.sub(lambda found: b"\xff\xef" + found[0][2:], data), exif  # a segment that nobody reads


def orientation(exif: bytes) -> int | None:
    """What a block of EXIF says of how the picture is to be turned, 1 to 8; None where it says nothing.

    TIFF 6.0, section 2, and what cameras make of it: the mark twice, the number 42 the wrong way round.
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    if exif[2:4] not in (b"*\0", b"\0*") or (order := {b"II": "<", b"MM": ">"}.get(exif[:2])) is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, place)
            if tag == _ORIENTATION and kind in _WHOLE and values:
                return struct.unpack_from(f"{order}{_WHOLE[kind]}", exif, place + 8)[0]
    except struct.error:  # it ends within its table
        pass
    return None


class ReadBudget(io.BytesIO):
    """A TIFF's bytes as a stream with a read budget: `MOST_COPIES` times its size, plus a million bytes.

    Raises:
        HeaderError: by `read`, once more has been read; a small TIFF may name the same bytes countless times.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MOST_COPIES * len(data) + 1_000_000

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._left -= len(content)
        if self._left < 0:
            raise HeaderError
        return content


def _require_few_scans(data: bytes) -> None:
    """ITU-T T.81, B.1.1: a marker is 0xFF and a byte; most have a length and as many bytes.

    In a scan's data 0xFF is followed by 0 or by the number of a restart. What follows the first picture's end, such
    as a phone's short film, does not count.
    """
    place, scans = 2, 0
    for _ in range(MOST_PARTS):
        found = _JPEG_MARKER.search(data, place)
        if found is None or (found[0][1] == 0xD9 and scans):  # the end of the picture
            break
        marker, place = found[0][1], found.end()
        scans += marker == 0xDA
        if marker not in _WITHOUT_LENGTH:
            place += int.from_bytes(data[place : place + 2], "big")
    else:
        raise HeaderError
    if scans > MOST_SCANS:
        raise HeaderError(f"consists of {scans:,} scans, and at most {MOST_SCANS} are read")


def _require_modest_gif(data: bytes) -> None:
    """GIF89a: a header, perhaps a table of colours, and blocks, of which extensions consist of smaller ones."""
    place = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    parts = comments = 0
    while place < len(data) and data[place] not in b",;":  # a picture, or the end
        parts += 1
        if data[place] == 0x21:
            comment = data[place + 1 : place + 2] == b"\xfe"
            place += 2
            first, second = data[place : place + 1], place + 1 + (data[place] if place < len(data) else 0)
            # Here Pillow goes on reading beyond the end of the extension.
            if not comment and (
                first == b"\0"
                or (data[place + 1 : second].startswith(b"NETSCAPE2.0") and data[second : second + 1] == b"\0")
            ):
                raise HeaderError
            while place < len(data) and (length := data[place]):
                place += 1 + length
                parts, comments = parts + 1, comments + length * comment
                if parts > MOST_PARTS or comments > MOST_COMMENTS:
                    raise HeaderError
        place += 1  # the empty block at the end of an extension, or a byte of nothing, which Pillow passes over
        if parts > MOST_PARTS:
            raise HeaderError


def _require_modest_bmp(data: bytes) -> None:
    """A header of 14 bytes, then another: its size, width, height, planes and bits, and how it is compressed."""
    try:
        size, width = struct.unpack_from("<Ii", data, 14)
        compression = struct.unpack_from("<I", data, 30)[0] if size > 12 else 0
    except struct.error:
        return  # too short to be one, as Pillow finds too
    if compression in (1, 2) and abs(width) > WIDEST_ENCODED:
        raise HeaderError(
            f"is run-length encoded and {abs(width):,} pixels wide, and at most {WIDEST_ENCODED:,} are read"
        )


def _require_modest_tiff(data: bytes) -> None:
    """TIFF 6.0, sections 2 and 15, and BigTIFF: the first table says how the picture lies in strips or tiles."""
    if data[:4] == b"MM\0\x2b":  # which Pillow takes for another kind than its decoder does
        raise HeaderError
    tags = _tiff_tags(data)
    for name in (_STRIPS, _TILES):
        if (count := tags.get(name, (0, 0))[0]) > MOST_PARTS:
            raise HeaderError(f"lies in {count:,} strips or tiles, and at most {MOST_PARTS:,} are read")
    if _TILE_WIDTH not in tags and _TILE_HEIGHT not in tags:
        return
    width, height, across, down = (tags.get(tag, (1, 0))[1] for tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT))
    if min(width, height, across, down) < 1:  # or in a kind of number that is none of width or height
        raise HeaderError
    pixels = -(-width // across) * -(-height // down) * across * down
    if pixels > min(max(SMALL_TILES, 4 * width * height), LARGEST_TILES):
        raise HeaderError(
            f"consists of tiles of {pixels / 1e6:,.0f} megapixels together, far more than the picture has"
        )


def _tiff_tags(data: bytes) -> dict[int, tuple[int, int]]:
    """How many values each tag has, and the first of whole numbers; the largest, where a tag stands several times."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    found: dict[int, tuple[int, int]] = {}
    big, kinds = data[2] == 43, _WHOLE | {16: "Q"}
    try:
        (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
        (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)
        first, size = start + (8 if big else 2), 20 if big else 12
        for place in range(first, first + size * min(count, MOST_PARTS), size):
            tag, kind, values = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", data, place)
            value = 0
            with suppress(struct.error, OverflowError):  # it points beyond the file, which others may read on from
                if kind in kinds and values:
                    letter, inline = kinds[kind], place + (12 if big else 8)
                    if struct.calcsize(letter) * values > (8 if big else 4):  # stands elsewhere
                        (inline,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, inline)
                    (value,) = struct.unpack_from(f"{order}{letter}", data, inline)
            before = found.get(tag, (0, 0))
            found[tag] = max(before[0], values), max(before[1], value)
    except (struct.error, OverflowError):  # it ends within its table
        pass
    return found


_REQUIREMENTS = {"GIF": _require_modest_gif, "BMP": _require_modest_bmp, "TIFF": _require_modest_tiff}
