"""Pictures from strangers: formats, colours, orientation, refusals, and the square the networks see."""

from __future__ import annotations

import io
import pickle
import random
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from abn.app.pictures import fitting as pictures
from abn.app.pictures.fitting import (
    FITS,
    MAX_PIXELS,
    PictureError,
    describe,
    enlarge,
    fit,
    read_picture,
    show_used_part,
)
from abn.app.pictures.headers import HeaderError, tamed
from abn.common.data import CLASS_NAMES

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
pytestmark = pytest.mark.filterwarnings(
    "ignore:::PIL"
)  # as abn.app.pictures.fitting does, where pytest turns warnings on


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def noise(width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def corners() -> Image.Image:
    """16 × 8, red, green, blue and white quarters: no two of the eight orientations look alike."""
    picture = Image.new("RGB", (16, 8))
    for index, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]):
        left, top = index % 2 * 8, index // 2 * 4
        picture.paste(colour, (left, top, left + 8, top + 4))
    return picture


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, body: bytes = b"\0" * 64) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def refusal(data: bytes | Path) -> str:
    with pytest.raises(PictureError) as caught:
        read_picture(data)
    return str(caught.value)


# Formats and colours


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_read_from_bytes_and_from_a_file(format, tmp_path):
    data = encoded(corners(), format, **({"lossless": True} if format == "WEBP" else {}))
    file = tmp_path / "no-suffix"
    file.write_bytes(data)
    for picture in (read_picture(data), read_picture(file)):
        assert (picture.mode, picture.size) == ("RGB", (16, 8))
        if format != "JPEG":
            assert np.array_equal(np.asarray(picture), np.asarray(corners()))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_the_first_picture_of_several_is_taken(format):
    first, second = Image.new("RGB", (9, 7), (250, 0, 0)), Image.new("RGB", (9, 7), (0, 0, 250))
    picture = read_picture(encoded(first, format, save_all=True, append_images=[second]))
    red, green, blue = picture.getpixel((4, 3))
    assert min(red, 255 - green, 255 - blue) > 240


def transparent_png(depth: int, colour: int, key: bytes, row: bytes, width: int) -> bytes:
    """One row of a picture in which one colour, `key`, is transparent."""
    data = png(width, 1, depth=depth, colour=colour, body=b"\0" + row)
    place = data.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(key)) + b"tRNS" + key + struct.pack(">I", zlib.crc32(b"tRNS" + key))
    return data[:place] + chunk + data[place:]


def test_a_transparent_colour_of_any_depth_is_that_colour():
    key, black = struct.pack(">3H", 0x8000, 0, 0), bytes(6)
    picture = read_picture(transparent_png(16, 2, key, key + black, 2))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]
    for depth, levels in ((2, 3), (4, 15)):  # levels 1 and 0
        row = bytes([1 << 8 - depth])
        picture = read_picture(transparent_png(depth, 0, struct.pack(">H", 1), row, 2))
        assert [picture.getpixel((x, 0))[0] for x in (0, 1)] == [255, 0]
        opaque = read_picture(transparent_png(depth, 0, struct.pack(">H", levels), row, 2))
        assert opaque.getpixel((0, 0))[0] == 255 // levels
    eight = read_picture(transparent_png(8, 0, struct.pack(">H", 10), bytes([10, 11]), 2))
    assert [eight.getpixel((x, 0))[0] for x in (0, 1)] == [255, 11]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_bilevel(mode):
    picture = Image.new("L", (4, 1))
    picture.putdata([0, 255, 0, 255])
    pixels = np.asarray(read_picture(encoded(picture.convert(mode), "PNG")))
    assert pixels[0, :, 0].tolist() == pixels[0, :, 2].tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format, mode):
    values = np.array([[0, 128, 257, 128 * 257, 254 * 257 + 129, 65535]], dtype=">u2" if mode == "I;16B" else "<u2")
    picture = Image.frombytes(mode, (6, 1), values.tobytes())
    assert np.asarray(read_picture(encoded(picture, format)))[0, :, 1].tolist() == [0, 0, 1, 128, 255, 255]


def test_32_bit_integers_are_read_as_16_bit_where_they_fit():
    assert read_picture(encoded(Image.new("I", (2, 2), 257 * 9), "TIFF")).getpixel((0, 0)) == (9, 9, 9)
    assert "values beyond 0 to 65,535" in refusal(encoded(Image.new("I", (2, 2), 70_000), "TIFF"))
    assert "values beyond 0 to 65,535" in refusal(encoded(Image.new("I", (2, 2), -1), "TIFF"))


def test_floating_point_tiff_is_read_from_0_to_1():
    assert read_picture(encoded(Image.new("F", (2, 2), 0.2), "TIFF")).getpixel((0, 0)) == (51, 51, 51)
    assert "floating-point" in refusal(encoded(Image.new("F", (2, 2), 1.5), "TIFF"))
    assert "floating-point" in refusal(encoded(Image.new("F", (2, 2), float("nan")), "TIFF"))


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(format):
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), format)  # no cyan, all magenta and yellow: red
    red, green, blue = read_picture(data).getpixel((4, 4))
    assert min(red, 255 - green, 255 - blue) > 250


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (200, 0, 0, 0)), ("LA", (10, 0))])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_transparency_is_laid_over_white(format, mode, colour):
    assert read_picture(encoded(Image.new(mode, (3, 3), colour), format)).getpixel((1, 1)) == (255, 255, 255)


def test_half_transparency_is_mixed_with_white():
    assert read_picture(encoded(Image.new("RGBA", (3, 3), (0, 0, 0, 102)), "PNG")).getpixel((1, 1)) == (153, 153, 153)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(format):
    picture = Image.new("P", (2, 1))
    picture.putpalette([1, 2, 3, 40, 50, 60])
    picture.putdata([0, 1])
    pixels = read_picture(encoded(picture, format, transparency=0))
    assert [pixels.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


@pytest.mark.parametrize(("mode", "value"), [("L", 7), ("I;16", 7), ("RGB", (1, 2, 3))])
def test_a_transparent_colour_is_white(mode, value):
    data = encoded(Image.new(mode, (2, 2), value), "PNG", transparency=value)
    assert read_picture(data).getpixel((0, 0)) == (255, 255, 255)


# Orientation


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(format, orientation):
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = corners() if undo is None else corners().transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    assert np.array_equal(np.asarray(read_picture(data)), np.asarray(corners()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_jpeg_is_turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    large = corners().resize((160, 80), Image.Resampling.NEAREST)  # in blocks of 8 × 8, which JPEG keeps
    got = np.asarray(read_picture(encoded(large, "JPEG", exif=exif, quality=95, subsampling=0)), int)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(large, "PNG", exif=exif))))
    assert got.shape[:2] == expected.size[::-1]
    assert np.abs(got - np.asarray(expected, int)).mean() < 3


@pytest.mark.parametrize("head", [b"Exif\0\0Exif\0\0MM\0*", b"Exif\0\0MM*\0"])
def test_a_turn_in_exif_that_is_not_quite_right_is_taken(head):
    exif = head + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    assert read_picture(encoded(noise(24, 16), "JPEG", exif=exif)).size == (16, 24)


def test_a_turn_that_stands_in_xmp_or_an_old_profile_is_taken():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert read_picture(encoded(noise(24, 16), "JPEG", xmp=xmp)).size == (16, 24)
    exif = Image.Exif()
    exif[0x0112] = 8
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n  100\n" + exif.tobytes().hex())
    assert read_picture(encoded(noise(24, 16), "PNG", pnginfo=text)).size == (16, 24)


@pytest.mark.parametrize(("kind", "value", "grey"), [(np.uint16, 65535, 0), (np.uint16, 0, 255), (np.float32, 1, 0)])
def test_a_deep_tiff_in_which_white_is_zero_is_no_negative(kind, value, grey):
    deep = Image.fromarray(np.full((2, 3), value, kind))
    data = bytearray(encoded(deep, "TIFF"))
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    (place,) = [
        at
        for at in range(start + 2, start + 2 + 12 * count, 12)
        if struct.unpack_from(f"{order}H", data, at)[0] == 262
    ]
    assert read_picture(bytes(data)).getpixel((0, 0)) == (255 - grey,) * 3
    struct.pack_into(f"{order}H", data, place + 8, 0)
    assert read_picture(bytes(data)).getpixel((0, 0)) == (grey,) * 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_turns_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert read_picture(encoded(noise(24, 16), "JPEG", exif=exif)).size == (24, 16)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_corrupt_exif_block_does_not_matter(format):
    generator = random.Random(0)
    good = Image.Exif()
    good[0x0112], good[0x010F] = 6, "maker"
    block = good.tobytes()
    for _ in range(40):
        corrupt = bytearray(block)
        for _ in range(4):
            corrupt[generator.randrange(6, len(corrupt))] = generator.randrange(256)
        corrupt = bytes(corrupt[: generator.randrange(7, len(corrupt) + 1)])
        assert sorted(read_picture(encoded(noise(24, 16), format, exif=corrupt)).size) == [16, 24]


# Sizes


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_small_and_narrow_pictures_are_read(size):
    assert read_picture(encoded(Image.new("RGB", size, "red"), "PNG")).size == size


def test_a_picture_at_the_limit_is_read_and_one_above_it_is_not():
    wide, high = 10_000, MAX_PIXELS // 10_000
    assert read_picture(encoded(Image.new("1", (wide, high)), "PNG")).size == (wide, high)
    sentence = refusal(encoded(Image.new("1", (wide, high + 1)), "PNG"))
    assert "10,000 × 5,001" in sentence
    assert "50 megapixels" in sentence


@pytest.mark.parametrize("side", [8_000, 15_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side, monkeypatch):
    def decode(*_):
        raise AssertionError("the picture was decoded")

    limit = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    assert f"{side:,} × {side:,}" in refusal(png(side, side))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_bombs_in_other_formats():
    gif, bmp = bytearray(encoded(noise(), "GIF")), bytearray(encoded(noise(), "BMP"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    webp = bytearray(encoded(noise(), "WEBP", save_all=True, append_images=[noise(seed=1)]))
    start = webp.index(b"VP8X") + 12
    webp[start : start + 6] = (16_382).to_bytes(3, "little") * 2
    for data in (gif, bmp, webp):
        assert "megapixels" in refusal(bytes(data))


def test_a_jpeg_of_countless_scans_is_refused():
    parts = encoded(noise(), "JPEG", progressive=True).split(b"\xff\xda")
    last = b"\xff\xda" + parts[-1][:-2]
    assert read_picture(b"\xff\xda".join(parts)).size == (24, 16)
    countless = refusal(b"\xff\xda".join(parts[:-1]) + last * 200 + b"\xff\xd9")
    assert re.search("consists of 2.. scans, and at most 100 are read; save it anew", countless)


def greedy_exif(order="<", entries=2000, kind=7):
    """Thousands of tags that all point at the same bytes, nearly the whole block, which Pillow copies for each."""
    size = 8 + 2 + 12 * entries + 4
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, entries)
    return head + b"".join(struct.pack(f"{order}HHII", 40_000 + i, kind, size, 0) for i in range(entries)) + bytes(4)


def with_segments(jpeg, marker, *contents):
    made = b"".join(bytes([0xFF, marker]) + (len(each) + 2).to_bytes(2, "big") + each for each in contents)
    return jpeg[:2] + made + jpeg[2:]


def peak(data):
    """Bytes that reading takes at most, above those before; Pillow's own pixels do not count."""
    tracemalloc.start()
    try:
        with suppress(PictureError):
            read_picture(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_that_all_point_at_the_same_bytes_take_no_more_than_the_file(order):
    block = greedy_exif(order)
    jpeg = encoded(noise(), "JPEG")
    files = {
        "JPEG": with_segments(jpeg, 0xE1, b"Exif\0\0" + block),
        "JPEG in parts": with_segments(jpeg, 0xE1, b"Exif\0\0" + block[:9000], b"Exif\0\0" + block[9000:]),
        "JPEG, marked twice": with_segments(jpeg, 0xE1, b"Exif\0\0Exif\0\0" + block),
        "JPEG, 42 the wrong way": with_segments(jpeg, 0xE1, b"Exif\0\0" + block[:2] + block[3:1:-1] + block[4:]),
        **{
            f"JPEG, {mark:X} before": b"\xff\xd8\xff"
            + bytes([mark])
            + with_segments(jpeg, 0xE1, b"Exif\0\0" + block)[2:]
            for mark in (0xD8, 0xD9, 0xC8, 0xF0)
        },
        "MPO": with_segments(jpeg, 0xE2, b"MPF\0" + block),
        "PNG": encoded(noise(), "PNG", exif=b"Exif\0\0" + block),
        "WebP": encoded(noise(), "WEBP", exif=b"Exif\0\0" + block),
        "TIFF": block,
    }
    read_picture(jpeg)  # what is loaded with the first picture
    for name, data in files.items():
        assert peak(data) < 12 * len(data) + 500_000, name  # the block's values take two thousand times as much
    assert refusal(files["TIFF"]).startswith("This TIFF file is damaged")
    for name in ("JPEG", "JPEG in parts", "JPEG, marked twice", "JPEG, 42 the wrong way", "MPO", "PNG", "WebP"):
        assert read_picture(files[name]).size == (24, 16), name  # the tags are not looked at


def test_a_gif_of_countless_comments_is_refused():
    gif = encoded(noise(), "GIF")
    start = gif.index(b"\x2c", 13 + 3 * 256)  # the first picture
    chatty = gif[:start] + b"\x21\xfe" + b"\x01x" * 60_000 + b"\0" + gif[start:]
    wordy = gif[:start] + b"\x21\xfe" + (b"\xff" + b"x" * 255) * 2000 + b"\0" + gif[start:]
    empty = gif[:start] + b"\x21\xfe\0" * 60_000 + gif[start:]
    for data in (
        chatty,
        wordy,
        empty,
        gif[:start] + b"\0" + wordy[start:],
        gif[:start] + bytes(60_000) + gif[start:],
    ):
        assert refusal(data).startswith("This GIF file is damaged")
    said = gif[:start] + b"\x21\xfe" + b"\x05hello" * 100 + b"\0" + gif[start:]
    assert np.array_equal(read_picture(said), read_picture(gif))


def test_a_gif_that_makes_pillow_read_beyond_an_extension_is_refused():
    """What it then reads as one block after the other would not have been counted."""
    gif = encoded(noise(), "GIF")
    start = gif.index(b"\x2c", 13 + 3 * 256)
    for extension in (b"\x21\xf9\0", b"\x21\x01\0", b"\x21\xff\x0bNETSCAPE2.0\0"):
        assert refusal(gif[:start] + extension + gif[start:]).startswith("This GIF file is damaged")
    looped = gif[:start] + b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + gif[start:]
    assert np.array_equal(read_picture(looped), read_picture(gif))


def run_length_bmp(width: int, body: bytes) -> bytes:
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body


def test_a_bmp_whose_few_bytes_skip_millions_of_pixels_is_refused():
    """Pillow fills what is skipped before it looks at how large the picture is."""
    skip = bytes([0, 2, 0, 255, 0, 1])
    assert refusal(run_length_bmp(50_000_000, skip)).startswith(
        "The BMP is run-length encoded and 50,000,000 pixels wide, and at most 65,535 are read; save it anew"
    )
    assert peak(run_length_bmp(65_535, skip)) < 60_000_000
    assert np.asarray(read_picture(run_length_bmp(4, bytes([3, 7, 1, 9, 0, 1]))))[0, :, 0].tolist() == [7, 7, 7, 9]


def tiff(order: str, big: bool, **tags: int) -> bytes:
    """A table of tags, each a number or the number of values that stand elsewhere, and nothing else."""
    numbers = {"width": 256, "height": 257, "strips": 273, "across": 322, "down": 323, "tiles": 324}
    word = "Q" if big else "I"

    def entry(name: str, value: int) -> bytes:
        if name in ("strips", "tiles"):
            return struct.pack(f"{order}HH{word}{word}", numbers[name], 4, value, 8)
        return struct.pack(f"{order}HH{word}I", numbers[name], 4, 1, value) + bytes(4 * big)

    mark = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}H", 43 if big else 42)
    mark += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    table = b"".join(entry(name, value) for name, value in tags.items())
    return mark + struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + table + bytes(1000)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_a_tiff_of_far_more_pixels_than_the_picture_has_is_refused(order, big):
    def refused(**tags):
        with pytest.raises(HeaderError) as caught:
            tamed(tiff(order, big, **tags), "TIFF")
        return str(caught.value)

    assert refused(width=16, height=16, across=32_768, down=32_768).startswith(
        "consists of tiles of 1,074 megapixels"
    )
    assert "tiles of 204,8" in refused(width=50_000_000, height=1, across=4096, down=4096)
    assert refused(width=16, height=16, across=0, down=16) == ""
    for kind in ("strips", "tiles"):
        said = refused(width=16, height=16, **{kind: 60_000})
        assert said == "lies in 60,000 strips or tiles, and at most 50,000 are read"
    for tags in (
        {"width": 640, "height": 480, "across": 2048, "down": 2048},
        {"width": 10_000, "height": 400, "across": 2048, "down": 2048},
        {"width": 2000, "height": 2000, "across": 4096, "down": 4096},
        {"width": 7000, "height": 7000, "across": 256, "down": 256, "tiles": 784},
        {"width": 7000, "height": 7000, "strips": 7000},
    ):
        assert tamed(tiff(order, big, **tags), "TIFF")[1] == b""


def tiled_tiff(side: int, width_type: int, before: bytes = b"") -> bytes:
    """16 × 16 pixels in one deflated tile of `side` × `side`; `before` are entries ahead of the tiles'."""
    tile = zlib.compress(bytes(side * side))
    entries = [
        struct.pack("<HHII", 256, width_type, 1, 16),
        struct.pack("<HHII", 257, 3, 1, 16),
        *(struct.pack("<HHII", tag, 3, 1, value) for tag, value in ((258, 8), (259, 8), (262, 1), (277, 1))),
        *([before] if before else []),
        struct.pack("<HHII", 322, 4, 1, side),
        struct.pack("<HHII", 323, 4, 1, side),
    ]
    start = 8 + 2 + 12 * (len(entries) + 2) + 4
    entries += [struct.pack("<HHII", 324, 4, 1, start), struct.pack("<HHII", 325, 4, 1, len(tile))]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + tile


def test_no_other_way_to_write_the_tags_leads_past_the_bound():
    assert read_picture(tiled_tiff(2048, 3)).size == (16, 16)
    beyond = struct.pack("<HHII", 300, 3, 8, 4_000_000_000)  # a value that stands beyond the file's end
    for data in (tiled_tiff(8192, 3), tiled_tiff(8192, 9), tiled_tiff(8192, 8), tiled_tiff(8192, 3, beyond)):
        said = refusal(data)
        assert said.startswith(("The TIFF consists of tiles of 67 megapixels together", "This TIFF file is damaged"))


def test_a_pointer_beyond_any_file_hides_no_tags():
    tags = tiff("<", True, strips=1, width=16, height=16, across=32_768, down=32_768)
    beyond = tags.replace(struct.pack("<HHQQ", 273, 4, 1, 8), struct.pack("<HHQQ", 300, 3, 8, 2**64 - 1))
    assert beyond != tags
    with pytest.raises(HeaderError, match="tiles of 1,074 megapixels"):
        tamed(beyond, "TIFF")


def test_a_tiff_that_pillow_and_its_decoder_read_in_two_ways_is_refused():
    with pytest.raises(HeaderError):
        tamed(tiff(">", True, width=16, height=16), "TIFF")


def test_a_jpeg_of_countless_markers_is_refused():
    jpeg = encoded(noise(), "JPEG")
    assert refusal(jpeg[:2] + b"\xff\x01" * 60_000 + jpeg[2:]).startswith("This JPEG file is damaged")


def test_memory_that_does_not_suffice_is_not_called_a_broken_picture(monkeypatch):
    def full(picture, name):
        raise MemoryError

    monkeypatch.setattr(pictures, "_to_rgb", full)
    assert refusal(encoded(noise(), "PNG")).startswith("There is no room for a picture of this size just now;")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_a_short_film_behind_a_jpeg_does_not_matter(options):
    """As phones write it; of ten million bytes some hundred and fifty pairs read like the start of a scan."""
    alone = encoded(noise(), "JPEG", **options)
    film = np.random.default_rng(0).bytes(10_000_000)
    assert film.count(b"\xff\xda") > 100
    assert np.array_equal(read_picture(alone + film), read_picture(alone))


# Refusals


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("picture.png", encoded(noise(), "PNG"))
    return stream.getvalue()


FOREIGN = {
    "text": b"just some text, renamed to .png\n",
    "html": b"<!DOCTYPE html><html><body><img src=x onerror=alert(1)></body></html>",
    "zip": zipped(),
    "audio": b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00",
    "pickle": pickle.dumps({"weights": [1.0, 2.0]}),
    "pdf": b"%PDF-1.7\n1 0 obj\n<< >>\nendobj\n",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "ppm": b"P6 1 1 255\n\0\0\0",
    "ico": b"\0\0\1\0\1\0\1\1\0\0\1\0\x20\0\x30\0\0\0\x16\0\0\0",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_picture_is_refused_in_a_sentence(kind):
    assert refusal(FOREIGN[kind]) == (
        "This file is not a picture that can be read here; send one as PNG, JPEG, WebP, GIF, BMP or TIFF."
    )


@pytest.mark.parametrize("kind", ["JPEG2000", "ICO", "TGA", "PPM", "AVIF"])
def test_other_formats_of_pillow_are_not_tried(kind):
    assert "cannot be read" in (text := refusal(encoded(noise(), kind))) or "can be read here" in text


def test_svg_heic_and_nothing_have_their_own_sentences():
    for svg in (b"<svg xmlns='x'/>", b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- a -->\n<SVG width='1'></SVG>"):
        assert refusal(svg).startswith("SVG is a drawing")
    assert refusal(b"\0\0\0\x18ftypheic" + bytes(20)).startswith("HEIC and AVIF")
    assert refusal(b"").startswith("The file is empty")


def test_a_file_that_is_not_there_is_refused_without_its_path(tmp_path):
    for path in (tmp_path / "missing.png", tmp_path):
        assert str(tmp_path) not in refusal(path)


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_files_are_refused(format):
    data = encoded(noise(60, 40), format)
    for length in [12, 24, 60, len(data) // 4, len(data) // 2, len(data) * 9 // 10, len(data) - 30]:
        refusal(data[:length])


def test_pixels_that_are_missing_inside_an_intact_png_are_refused():
    assert "PNG file is damaged" in refusal(png(50, 50))


@pytest.mark.parametrize("format", FORMATS)
def test_mutated_files_are_read_or_refused_and_nothing_else(format):
    generator = random.Random(format)
    palette = noise().convert("P" if format in ("PNG", "GIF", "BMP") else "RGB")
    sources = [encoded(noise(), format), encoded(palette, format)]
    if format == "TIFF":
        sources += [encoded(noise(), format, compression=c) for c in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")]
    sentences, read = set(), 0
    for _ in range(200):
        data = bytearray(generator.choice(sources))
        for _ in range(generator.choice([1, 1, 3, 10])):
            # Headers are where a changed byte is taken at its word.
            end = min(len(data), generator.choice([40, 200, len(data)]))
            data[generator.randrange(end)] = generator.randrange(256)
        if generator.random() < 0.2:
            del data[generator.randrange(len(data)) :]
        try:
            read += read_picture(bytes(data)).mode == "RGB"
        except PictureError as error:
            sentences.add(str(error))
    assert read > 0
    assert len(sentences) > 1
    assert all(re.fullmatch(r"[^/\n]+\.", sentence) for sentence in sentences)


def test_odd_metadata_raises_no_warnings(tmp_path):
    """Python remembers every warning's text, and Pillow's differ from file to file; libtiff's own lines remain."""
    picture = encoded(noise(), "PNG")
    animation_of_no_frames = b"acTL" + bytes(8)
    chunk = struct.pack(">I", 8) + animation_of_no_frames + struct.pack(">I", zlib.crc32(animation_of_no_frames))
    (tmp_path / "a.png").write_bytes(picture[:33] + chunk + picture[33:])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\x09\0\0\0\1\0"  # ends within its table
    (tmp_path / "b.jpg").write_bytes(encoded(noise(), "JPEG", exif=exif))
    script = "import sys, pathlib\nfrom abn.app.pictures.fitting import read_picture\n"
    script += "for name in sys.argv[1:]: read_picture(pathlib.Path(name))"
    command = [sys.executable, "-W", "default", "-c", script, tmp_path / "a.png", tmp_path / "b.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_threads_read_different_pictures_alike():
    sources = [encoded(noise(40, 30, seed), "PNG") for seed in range(8)] * 4
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(read_picture, sources))
    for source, picture in zip(sources, pictures, strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(read_picture(source)))


# The square the networks see


def test_a_picture_of_the_right_size_is_untouched():
    picture = noise(32, 32)
    for mode in FITS:
        assert np.array_equal(fit(picture, mode).pixels, np.asarray(picture))
    assert describe(fit(picture)) == "32 × 32: all of it is used, pixel for pixel."


def test_crop_takes_the_centre_square():
    picture = Image.new("RGB", (96, 32), "red")
    middle = noise(32, 32)
    picture.paste(middle, (32, 0))
    fitted = fit(picture, "crop")
    assert np.array_equal(fitted.pixels, np.asarray(middle))
    assert (fitted.box, fitted.original_size, fitted.enlarged) == ((32, 0, 64, 32), (96, 32), False)


def test_pad_keeps_all_of_it_between_black_bars():
    fitted = fit(Image.new("RGB", (200, 100), "white"), "pad")
    assert fitted.pixels[:, 16, 1].tolist() == [0] * 8 + [255] * 16 + [0] * 8
    assert (fitted.pixels == fitted.pixels[:, :1, :1]).all()
    assert fitted.box == (0, 0, 200, 100)


def test_reduction_averages_and_does_not_alias():
    stripes = np.zeros((640, 640, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    pixels = fit(Image.fromarray(stripes)).pixels
    assert np.abs(pixels.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("mode", FITS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (31, 33), (3_000_000, 1)])
def test_any_shape_can_be_fitted_and_shown(size, mode):
    picture = Image.new("RGB", size, (200, 100, 50))
    fitted = fit(picture, mode)
    assert (fitted.pixels.shape, fitted.pixels.dtype) == ((32, 32, 3), np.uint8)
    assert fitted.pixels[16, 16].tolist() == [200, 100, 50] or max(size) / min(size) > 32
    if mode == "crop":
        assert (fitted.pixels == [200, 100, 50]).all()
    preview = show_used_part(picture, fitted)
    assert 1 <= min(preview.size) <= max(preview.size) <= 640
    assert describe(fitted).startswith(f"{size[0]:,} × {size[1]:,}: ")


def test_fit_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="crop, pad"):
        fit(noise(), "stretch")
    with pytest.raises(ValueError, match="RGB"):
        fit(Image.new("L", (4, 4)))


@pytest.mark.parametrize(
    ("size", "mode", "sentence"),
    [
        ((1600, 900), "crop", "1,600 × 900: the centre 900 × 900 is used, scaled to 32 × 32."),
        ((1600, 900), "pad", "1,600 × 900: all of it is used, scaled to 32 × 18, with black bars to 32 × 32."),
        ((900, 900), "crop", "900 × 900: all of it is used, scaled to 32 × 32."),
        ((10, 20), "crop", "10 × 20: the centre 10 × 10 is used, enlarged to 32 × 32."),
        ((40, 32), "crop", "40 × 32: the centre 32 × 32 is used, pixel for pixel."),
        ((32, 20), "pad", "32 × 20: all of it is used, pixel for pixel, with black bars to 32 × 32."),
    ],
)
def test_describe(size, mode, sentence):
    assert describe(fit(Image.new("RGB", size), mode)) == sentence


def test_the_unused_part_is_dimmed():
    picture = Image.new("RGB", (1280, 640), (200, 200, 200))
    preview = show_used_part(picture, fit(picture))
    assert preview.size == (640, 320)
    assert preview.getpixel((320, 160)) == (200, 200, 200)
    assert max(preview.getpixel((40, 160)) + preview.getpixel((600, 160))) < 100
    whole = show_used_part(picture, fit(picture, "pad"))
    assert np.array_equal(np.asarray(whole), np.full((320, 640, 3), 200))


def test_enlarge_repeats_pixels():
    pixels = np.asarray(noise(3, 2))
    assert np.array_equal(np.asarray(enlarge(pixels, 4)), pixels.repeat(4, 0).repeat(4, 1))


# The examples of this project


def test_there_is_an_example_for_every_class():
    files = sorted((ROOT / "assets" / "examples").glob("*.png"))
    assert len(files) >= 10
    assert {file.stem.split("-")[0] for file in files} == set(CLASS_NAMES)
    for file in files:
        assert file.stat().st_size < 120_000
        picture = read_picture(file)
        assert picture.width == picture.height >= 128
        assert np.asarray(fit(picture).pixels).std() > 15


def test_the_examples_are_what_the_script_draws(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "assets"))
    import draw_examples

    assert {file.stem for file in draw_examples.FOLDER.glob("*.png")} == set(draw_examples.SCENES)
    for scene in draw_examples.SCENES.values():
        assert draw_examples.render(scene(), 16).size == (draw_examples.SIZE, draw_examples.SIZE)
    # One in full; another machine's rounding may move a few edge pixels.
    drawn = draw_examples.render(draw_examples.SCENES["airplane-2"](), draw_examples.SIZE * draw_examples.RAYS)
    stored = np.asarray(Image.open(draw_examples.FOLDER / "airplane-2.png"))
    assert np.abs(np.asarray(drawn).astype(int) - stored).mean() < 0.1
