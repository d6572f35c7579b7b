"""Pictures from strangers: formats, colours, orientation, refusals, and the square the networks see."""

from __future__ import annotations

import base64
import io
import pickle
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from abn.app.pictures.fitting import FITS, describe, enlarge, fit, show_used_part
from abn.app.pictures.formats import MAX_PIXELS, PictureError
from abn.app.pictures.reading import read_picture
from abn.common.data import CLASS_NAMES

ROOT = Path(__file__).resolve().parents[2]
LOSSLESS = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
    "TIFF": {},
    "JPEG2000": {},
    "ICO": {"sizes": [(16, 8)]},
    "PPM": {},
    "TGA": {},
}
FORMATS = (*LOSSLESS, "JPEG", "HEIF", "AVIF")
pillow_heif.register_heif_opener()

# 64 × 32 pixels, left (240, 16, 16), right (16, 16, 240), 10 bits, 4:4:4. Pillow writes AVIF of 8 bits alone.
AVIF_10_BIT = base64.b85decode(
    "0000WW^{RQVRmU|00000VRmU|ZE0pPZE0a<O+hh10002%ZDn*}000000000XXk=`10000000000aA{+700000000000000000000"
    "4sdC7Z2$lO000310016oY;R)#0000)000310RR910RR926951JGynhqC~0YKW&i*H00031000_kZf0cy000000RRADb}%tRZ)|UJ"
    "00000YH4tCZ~y=ROKEUpZvX%Q6lrsCWdHyG00000KmY&$AOHXW5O8UDX#fBK00RmN3IG5A3}JRLLxCVb000006Ju{|a&BX6cmM(b"
    "0ssbp0000NX>e^}0000000001009I60)qqq002B~WMOm?0162>6+ioU5D+wgG9?lMLrQ=E@&Et;+^V7<CKLra3o7#@6+%qh&R>%F"
    "pC*Jo@Cbk"
)


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


@pytest.mark.parametrize("format", LOSSLESS)
def test_every_format_is_read_from_bytes_and_from_a_file(format, tmp_path):
    data = encoded(corners(), format, **LOSSLESS[format])
    file = tmp_path / "no-suffix"
    file.write_bytes(data)
    for picture in (read_picture(data), read_picture(file)):
        assert (picture.mode, picture.size) == ("RGB", (16, 8))
        assert np.array_equal(np.asarray(picture), np.asarray(corners()))


def patches() -> Image.Image:
    """`corners` in blocks that lossy formats keep."""
    return corners().resize((160, 80), Image.Resampling.NEAREST)


@pytest.mark.parametrize("format", ["JPEG", "HEIF", "AVIF", "WEBP"])
def test_every_lossy_format_is_read(format):
    picture = read_picture(encoded(patches(), format, quality=95))
    assert (picture.mode, picture.size) == ("RGB", (160, 80))
    assert np.abs(np.asarray(picture, int) - np.asarray(patches(), int)).mean() < 3


def test_a_heic_of_10_bits_is_read():
    deep = np.zeros((64, 64, 3), dtype=np.uint16)
    deep[:, :32], deep[:, 32:] = (0xF000, 0x1000, 0x1000), (0x1000, 0x1000, 0xF000)
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), deep.tobytes()).save(stream, quality=95)
    assert pillow_heif.open_heif(stream, convert_hdr_to_8bit=False).info["bit_depth"] == 10
    picture = read_picture(stream.getvalue())
    np.testing.assert_allclose(picture.getpixel((8, 32)), (0xF0, 0x10, 0x10), atol=6)
    np.testing.assert_allclose(picture.getpixel((56, 32)), (0x10, 0x10, 0xF0), atol=6)


def test_an_avif_of_10_bits_is_read():
    picture = read_picture(AVIF_10_BIT)
    np.testing.assert_allclose(picture.getpixel((8, 16)), (240, 16, 16), atol=6)
    np.testing.assert_allclose(picture.getpixel((56, 16)), (16, 16, 240), atol=6)


@pytest.mark.parametrize(("brand", "compatible"), [(b"mif1", b"heic"), (b"heic", b"mif1"), (b"mif1", b"avif")])
def test_a_file_of_the_general_brand_is_read_as_what_it_fits(brand, compatible):
    data = bytearray(encoded(patches(), "AVIF" if compatible == b"avif" else "HEIF", quality=95))
    data[8:12], data[16:20] = brand, compatible
    assert read_picture(bytes(data)).size == (160, 80)


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


@pytest.mark.parametrize("format", ["JPEG", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photograph_is_turned(format, orientation):
    """A JPEG says so in its EXIF, HEIC and AVIF in properties that their writers make of it."""
    large = patches()
    exif = large.getexif()
    exif[0x0112] = orientation
    got = np.asarray(read_picture(encoded(large, format, exif=exif.tobytes(), quality=95, subsampling="4:4:4")), int)
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
    read = read_picture(encoded(Image.new("1", (wide, high)), "PNG"))
    assert (read.info, read.size) == ({"size": (wide, high), "reduced": 4}, (wide // 4, high // 4))
    sentence = refusal(encoded(Image.new("1", (wide, high + 1)), "PNG"))
    assert "10,000 × 5,001" in sentence
    assert "50 megapixels" in sentence


@pytest.mark.parametrize("side", [8_000, 15_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    assert f"{side:,} × {side:,}" in refusal(png(side, side, body=b""))  # of which no pixel could be decoded


def test_bombs_in_other_formats():
    gif, bmp = bytearray(encoded(noise(), "GIF")), bytearray(encoded(noise(), "BMP"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    webp = bytearray(encoded(noise(), "WEBP", save_all=True, append_images=[noise(seed=1)]))
    start = webp.index(b"VP8X") + 12
    webp[start : start + 6] = (16_382).to_bytes(3, "little") * 2
    for data in (gif, bmp, webp):
        assert "megapixels" in refusal(bytes(data))


@pytest.mark.parametrize(("width", "height"), [(1500, 1300), (2563, 1299), (5121, 5122), (1279, 3000)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_large_picture_is_reduced_and_fitted_as_the_whole_would_be(format, width, height):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    whole = coarse.resize((width, height), Image.Resampling.BICUBIC)
    data = encoded(whole, format, exif=exif, **({"quality": 95} if format == "JPEG" else {"compress_level": 1}))
    picture, upright = read_picture(data), whole.transpose(Image.Transpose.ROTATE_270)
    reduced = 1
    while min(width, height) // (2 * reduced) >= 640:
        reduced *= 2
    assert picture.info == {"size": (height, width), "reduced": reduced}
    assert picture.size == (-(-height // reduced), -(-width // reduced))
    for mode in FITS:
        seen, expected = fit(picture, mode), fit(upright, mode)
        assert (seen.box, seen.original_size, seen.scaled_size) == (
            expected.box, expected.original_size, expected.scaled_size,
        )  # fmt: skip
        assert np.abs(seen.pixels.astype(int) - expected.pixels).max() <= 4
        assert describe(seen) == describe(expected)
        shown = np.asarray(show_used_part(picture, seen), int)
        assert np.abs(shown - np.asarray(show_used_part(upright, expected), int)).mean() < 2


# Files that cost far more than their size. What they may cost is in test_decoding_process.


def greedy_exif(order="<", entries=2000, kind=7):
    """Thousands of tags that all point at the same bytes, nearly the whole block, which Pillow copies for each."""
    size = 8 + 2 + 12 * entries + 4
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, entries)
    return head + b"".join(struct.pack(f"{order}HHII", 40_000 + i, kind, size, 0) for i in range(entries)) + bytes(4)


def with_segments(jpeg, marker, *contents):
    made = b"".join(bytes([0xFF, marker]) + (len(each) + 2).to_bytes(2, "big") + each for each in contents)
    return jpeg[:2] + made + jpeg[2:]


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_that_all_point_at_the_same_bytes_do_not_matter(order):
    block = greedy_exif(order)
    jpeg = encoded(noise(), "JPEG")
    files = {
        "JPEG": with_segments(jpeg, 0xE1, b"Exif\0\0" + block),
        "JPEG in parts": with_segments(jpeg, 0xE1, b"Exif\0\0" + block[:9000], b"Exif\0\0" + block[9000:]),
        "JPEG, marked twice": with_segments(jpeg, 0xE1, b"Exif\0\0Exif\0\0" + block),
        "JPEG, 42 the wrong way": with_segments(jpeg, 0xE1, b"Exif\0\0" + block[:2] + block[3:1:-1] + block[4:]),
        "MPO": with_segments(jpeg, 0xE2, b"MPF\0" + block),
        "PNG": encoded(noise(), "PNG", exif=b"Exif\0\0" + block),
        "WebP": encoded(noise(), "WEBP", exif=b"Exif\0\0" + block),
    }
    for name, data in files.items():
        assert read_picture(data).size == (24, 16), name
    assert refusal(block).startswith("This TIFF file is damaged")


def gif_with(extension: bytes) -> bytes:
    """A GIF with blocks before its first picture."""
    gif = encoded(noise(), "GIF")
    start = gif.index(b"\x2c", 13 + 3 * 256)
    return gif[:start] + extension + gif[start:]


@pytest.mark.parametrize(
    "extension",
    [
        b"\x21\xfe" + b"\x05hello" * 100 + b"\0",
        b"\x21\xfe" + b"\x01x" * 60_000 + b"\0",
        b"\x21\xfe" + (b"\xff" + b"x" * 255) * 2000 + b"\0",
        b"\x21\xfe\0" * 60_000,
        bytes(60_000),
        b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0",
    ],
    ids=["a comment", "short comments", "long comments", "empty comments", "empty blocks", "a loop"],
)
def test_what_a_gif_says_before_its_first_picture_does_not_matter(extension):
    assert np.array_equal(read_picture(gif_with(extension)), read_picture(gif_with(b"")))


@pytest.mark.parametrize("extension", [b"\x21\xf9\0", b"\x21\x01\0", b"\x21\xff\x0bNETSCAPE2.0\0"])
def test_a_gif_that_makes_pillow_read_beyond_an_extension_is_refused(extension):
    assert refusal(gif_with(extension)).startswith("This GIF file is damaged")


def run_length_bmp(width: int, body: bytes) -> bytes:
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(body), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body


def test_a_bmp_whose_few_bytes_skip_millions_of_pixels_is_refused():
    """Pillow fills what is skipped before it looks at how large the picture is: here 12.8 GB."""
    assert refusal(run_length_bmp(50_000_000, bytes([0, 2, 0, 255, 0, 1]))) == (
        "This picture takes more than 1.5 GB of memory to read; save it anew as JPEG or PNG, or send a smaller one."
    )
    assert np.asarray(read_picture(run_length_bmp(4, bytes([3, 7, 1, 9, 0, 1]))))[0, :, 0].tolist() == [7, 7, 7, 9]


def tiled_tiff(side: int, width_type: int = 3, before: bytes = b"") -> bytes:
    """16 × 16 pixels in one deflated tile of `side` × `side`; `before` are entries ahead of the tiles'."""
    tile = zlib.compress(bytes(side * min(side, 2048)))  # of a larger one the beginning will do
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


def test_a_tiff_in_tiles_of_far_more_pixels_than_it_has_is_refused():
    assert read_picture(tiled_tiff(2048)).size == (16, 16)
    beyond = struct.pack("<HHII", 300, 3, 8, 4_000_000_000)  # a value that stands beyond the file's end
    for data in (tiled_tiff(40_000), tiled_tiff(40_000, 9), tiled_tiff(40_000, 8), tiled_tiff(40_000, 3, beyond)):
        assert refusal(data).startswith("This TIFF file is damaged")


def test_a_jpeg_of_countless_scans_or_markers_costs_little_where_the_picture_is_small():
    parts = encoded(noise(), "JPEG", progressive=True).split(b"\xff\xda")
    last = b"\xff\xda" + parts[-1][:-2]
    assert read_picture(b"\xff\xda".join(parts)).size == (24, 16)
    assert read_picture(b"\xff\xda".join(parts[:-1]) + last * 200 + b"\xff\xd9").size == (24, 16)
    jpeg = encoded(noise(), "JPEG")
    assert refusal(jpeg[:2] + b"\xff\x01" * 60_000 + jpeg[2:]).startswith("This JPEG file is damaged")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_a_short_film_behind_a_jpeg_does_not_matter(options):
    """As phones write it; of ten million bytes some hundred and fifty pairs read like the start of a scan."""
    alone = encoded(noise(), "JPEG", **options)
    film = np.random.default_rng(0).bytes(10_000_000)
    assert film.count(b"\xff\xda") > 100
    assert np.array_equal(read_picture(alone + film), read_picture(alone))


# What viewers make nothing of


def png_with(*chunks: tuple[bytes, bytes], broken: bool = False) -> bytes:
    """A PNG with chunks before its pixels and the same behind them; with wrong checksums if `broken`."""
    data = encoded(noise(), "PNG")
    made = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) ^ broken)
        for kind, content in chunks
    )
    return data[:33] + made + data[33:-12] + made + data[-12:]


@pytest.mark.parametrize(
    ("kind", "head"), [(b"iCCP", b"profile\0\0"), (b"zTXt", b"comment\0\0"), (b"iTXt", b"comment\0\1\0\0\0")]
)
def test_a_png_with_more_than_a_megabyte_beside_its_pixels_is_read(kind, head):
    content = head + zlib.compress(bytes(3_000_000))
    assert np.array_equal(read_picture(png_with((kind, content))), noise())


def test_a_png_with_many_texts_is_read():
    texts = [(b"zTXt", b"%d\0\0" % number + zlib.compress(bytes(1_000_000))) for number in range(80)]
    assert np.array_equal(read_picture(png_with(*texts)), noise())


@pytest.mark.parametrize("kind", [b"tEXt", b"gAMA", b"pHYs", b"tIME", b"eXIf", b"prVt"])
def test_a_png_with_a_wrong_checksum_beside_its_pixels_is_read(kind):
    assert np.array_equal(read_picture(png_with((kind, b"a\0text of it"), broken=True)), noise())


def test_a_png_with_a_wrong_checksum_of_its_header_is_refused():
    data = encoded(noise(), "PNG")
    assert refusal(data[:32] + bytes([data[32] ^ 1]) + data[33:]).startswith("This PNG file is damaged")


def bmp_with_alpha(*pixels: tuple[int, int, int, int]) -> bytes:
    """One row of red, green, blue, alpha, by masks (BITMAPV4HEADER)."""
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    row = b"".join(bytes([blue, green, red, alpha]) for red, green, blue, alpha in pixels)
    header = struct.pack("<IiiHHIIiiII4I", 108, len(pixels), 1, 1, 32, 3, len(row), 0, 0, 0, 0, *masks) + bytes(52)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(row), 0, 0, 14 + len(header)) + header + row


def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque():
    picture = read_picture(bmp_with_alpha((10, 20, 30, 0), (40, 50, 60, 0)))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (40, 50, 60)]
    picture = read_picture(bmp_with_alpha((10, 20, 30, 0), (40, 50, 60, 255)))
    assert [picture.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


@pytest.mark.parametrize("format", ["TGA", "ICO"])
def test_other_formats_in_which_alpha_may_mean_nothing(format):
    data = encoded(Image.new("RGBA", (16, 16), (10, 20, 30, 0)), format)
    assert read_picture(data).getpixel((1, 1)) == (10, 20, 30)


def test_a_picture_whose_alpha_is_0_everywhere_is_white_where_alpha_means_something():
    for format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        data = encoded(Image.new("RGBA", (16, 16), (10, 20, 30, 0)), format, **options)
        assert read_picture(data).getpixel((1, 1)) == (255, 255, 255)


def float_tiff(bits: int, samples: int) -> bytes:
    """One pixel of 0.5 in each sample."""
    content = struct.pack("<d" if bits == 64 else "<f", 0.5) * samples
    values = {256: 1, 257: 1, 258: bits, 259: 1, 262: 2 if samples == 3 else 1, 277: samples, 278: 1, 339: 3}
    count = len(values) + 2
    behind = 8 + 2 + 12 * count + 4
    several = (
        {tag: struct.pack(f"<{samples}H", *[values[tag]] * samples) for tag in (258, 339)} if samples > 2 else {}
    )
    places = {tag: behind + 8 * place for place, tag in enumerate(several)}
    strip = behind + 8 * len(several)
    entries = [
        struct.pack("<HHII", tag, 3, samples if tag in (258, 339) else 1, places.get(tag, value))
        for tag, value in (values | {273: strip, 279: len(content)}).items()
    ]
    table = b"".join(sorted(entries, key=lambda entry: struct.unpack_from("<H", entry)))
    behind = b"".join(part.ljust(8, b"\0") for part in several.values())
    return b"II*\0" + struct.pack("<IH", 8, count) + table + bytes(4) + behind + content


def test_a_tiff_of_floating_point_that_cannot_be_read_says_so():
    assert read_picture(float_tiff(32, 1)).getpixel((0, 0)) == (128, 128, 128)
    for bits, samples in ((64, 1), (32, 3), (64, 3)):
        assert refusal(float_tiff(bits, samples)) == (
            f"This TIFF has {samples} × {bits} bits of floating point a pixel, and only 1 × 32 bits can be read; "
            "save it with 8 or 16 bits a channel."
        )


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
    "film": b"\0\0\0\x18ftypmp42" + bytes(8) + b"mp42isom",
    "nearly tga": b"\0\0\2" + bytes(9) + b"\x18\0\x10\0\x19\0",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_picture_is_refused_in_a_sentence(kind):
    assert refusal(FOREIGN[kind]) == (
        "This file is not a picture that can be read here; send one as PNG, JPEG, HEIC, AVIF, WebP, GIF, BMP or TIFF."
    )


def test_svg_and_nothing_have_their_own_sentences():
    for svg in (b"<svg xmlns='x'/>", b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- a -->\n<SVG width='1'></SVG>"):
        assert refusal(svg).startswith("SVG is a drawing")
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


@pytest.mark.process
def test_odd_metadata_raises_no_warnings(tmp_path):
    """Python remembers every warning's text, and Pillow's differ from file to file; libtiff's own lines remain."""
    picture = encoded(noise(), "PNG")
    animation_of_no_frames = b"acTL" + bytes(8)
    chunk = struct.pack(">I", 8) + animation_of_no_frames + struct.pack(">I", zlib.crc32(animation_of_no_frames))
    (tmp_path / "a.png").write_bytes(picture[:33] + chunk + picture[33:])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\x09\0\0\0\1\0"  # ends within its table
    (tmp_path / "b.jpg").write_bytes(encoded(noise(), "JPEG", exif=exif))
    script = "import sys, pathlib\nfrom abn.app.pictures.reading import read_picture\n"
    script += "for name in sys.argv[1:]: read_picture(pathlib.Path(name))"
    command = [sys.executable, "-W", "default", "-c", script, tmp_path / "a.png", tmp_path / "b.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


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
