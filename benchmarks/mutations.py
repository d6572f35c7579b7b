"""Pictures in every format that is read, and seeded mutations of their files."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Mapping

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

pillow_heif.register_heif_opener()

MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"acTL", b"\xff\xd8\xff\xe0",
    b"\xff\xd8\xff\xe1", b"Exif\x00\x00", b"MPF\x00", b"\xff\xda", b"\xff\xc2", b"\xff\xd9", b"RIFF", b"WEBPVP8X",
    b"WEBPVP8L", b"ALPH", b"ANIM", b"GIF87a", b"GIF89a", b"\x21\xff\x0bNETSCAPE2.0", b"BM", b"II*\x00", b"MM\x00*",
    b"II+\x00", b"%PDF-1.7", b"PK\x03\x04", b"<svg xmlns=", b"<?xml version=", b"\x00\x00\x00\x20ftypheic",
    b"\x76\x2f\x31\x01", b"8BPS", b"\x80\x04\x95", b"\x00\x00\x00\x20ftypavif", b"meta", b"iloc", b"ipma", b"hvcC",
    b"mdat", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ", b"\x00\x00\x01\x00", b"P6 48 48 255 ", b"iCCP", b"acsp",
)  # fmt: skip
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
TRACE = re.compile(r"Traceback|\.py\b|/tmp/|/home/|/proc/|site-packages|0x[0-9a-f]{6}")
"""What no visitor may read: a trace of the server's files or its memory."""

Mutation = Callable[[np.random.Generator, bytearray, bytes], bytes]


def good_files(random: np.random.Generator, side: int = 48) -> dict[str, bytes]:
    """A picture of noise over colour, in every format and kind of pixel: name → content."""
    coarse = random.integers(0, 256, (4, 4, 4), dtype=np.uint8)
    pixels = coarse.repeat(side // 4, axis=0).repeat(side // 4, axis=1) ^ random.integers(
        0, 16, (side, side, 4), dtype=np.uint8
    )
    rgb, rgba = Image.fromarray(pixels[..., :3]), Image.fromarray(pixels)
    grey, palette, cmyk = rgb.convert("L"), rgb.quantize(32), rgb.convert("CMYK")
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    turned[0x010E] = "a description"
    clear_palette = palette.copy()
    clear_palette.info["transparency"] = 3
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [Image.fromarray(np.roll(pixels[..., :3], shift, 1)) for shift in (4, 8)]
    return {
        "rgb.png": _encoded(rgb, "PNG"),
        "grey.png": _encoded(grey, "PNG"),
        "bilevel.png": _encoded(rgb.convert("1"), "PNG"),
        "palette.png": _encoded(clear_palette, "PNG"),
        "alpha.png": _encoded(rgba, "PNG"),
        "grey-alpha.png": _encoded(rgba.convert("LA"), "PNG"),
        "deep.png": _encoded(deep, "PNG"),
        "rgb.jpg": _encoded(rgb, "JPEG", quality=80),
        "grey.jpg": _encoded(grey, "JPEG"),
        "progressive.jpg": _encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": _encoded(cmyk, "JPEG"),
        "exif.jpg": _encoded(rgb, "JPEG", exif=turned),
        "profile.jpg": _encoded(rgb, "JPEG", icc_profile=profile),
        "profile.png": _encoded(rgb, "PNG", icc_profile=profile),
        "rgb.heic": _encoded(rgb, "HEIF", exif=turned.tobytes()),
        "alpha.heic": _encoded(rgba, "HEIF"),
        "rgb.avif": _encoded(rgb, "AVIF", exif=turned.tobytes()),
        "alpha.avif": _encoded(rgba, "AVIF"),
        "rgb.jp2": _encoded(rgb, "JPEG2000"),
        "alpha.ico": _encoded(rgba, "ICO", sizes=[(side, side)]),
        "rgb.ppm": _encoded(rgb, "PPM"),
        "packed.tga": _encoded(rgba, "TGA", compression="tga_rle"),
        "lossy.webp": _encoded(rgb, "WEBP"),
        "alpha.webp": _encoded(rgba, "WEBP", lossless=True),
        "animated.webp": _encoded(rgb, "WEBP", save_all=True, append_images=frames),
        "palette.gif": _encoded(palette, "GIF"),
        "animated.gif": _encoded(palette, "GIF", save_all=True, append_images=[frames[0].quantize(16)]),
        "rgb.bmp": _encoded(rgb, "BMP"),
        "palette.bmp": _encoded(palette, "BMP"),
        "rgb.tiff": _encoded(rgb, "TIFF"),
        "packed.tiff": _encoded(rgb, "TIFF", compression="tiff_lzw"),
        "deep.tiff": _encoded(deep, "TIFF"),
        "cmyk.tiff": _encoded(cmyk, "TIFF", compression="tiff_deflate"),
        "float.tiff": _encoded(Image.fromarray(pixels[..., 0].astype(np.float32) / 255), "TIFF"),
        "pages.tiff": _encoded(rgb, "TIFF", save_all=True, append_images=frames),
    }


def mutated(random: np.random.Generator, files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """One file with one to three mutations: (its name, which says what was done, content)."""
    names = list(files)
    name = names[random.integers(len(names))]
    content, done = files[name], []
    for _ in range(random.integers(1, 4)):
        mutation = MUTATIONS[random.integers(len(MUTATIONS))]
        content = mutation(random, bytearray(content), files[names[random.integers(len(names))]])
        done.append(mutation.__name__.lstrip("_"))
    stem, ending = name.split(".")
    return f"{stem}-{'-'.join(done)}.{ending}", content


def _flip_bits(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    for _ in range(random.integers(1, 17)):
        if content:
            content[random.integers(len(content))] ^= 1 << int(random.integers(8))
    return bytes(content)


def _cut(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    return bytes(content[: random.integers(len(content) + 1)])


def _splice(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    return bytes(content[: random.integers(len(content) + 1)]) + other[random.integers(len(other) + 1) :]


def _insert_chunk(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    """A piece of another file, in the middle of this one."""
    start, place = random.integers(len(other) + 1), random.integers(len(content) + 1)
    content[place:place] = other[start : start + random.integers(1, 200)]
    return bytes(content)


def _edit_header(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    for _ in range(random.integers(1, 9)):
        if content:
            content[random.integers(min(64, len(content)))] = random.integers(256)
    return bytes(content)


def _write_number(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    """A length or a size of the kind that overflows, in either byte order, mostly near the beginning."""
    reach = min(len(content), 200) if random.random() < 0.7 else len(content)
    place = int(random.integers(max(1, reach)))
    content[place : place + 4] = struct.pack("<>"[random.integers(2)] + "I", NUMBERS[random.integers(len(NUMBERS))])
    return bytes(content)


def _add_bytes(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    place = random.integers(len(content) + 1)
    content[place:place] = random.bytes(int(random.integers(1, 300)))
    return bytes(content)


def _write_magic(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    magic = MAGIC[random.integers(len(MAGIC))]
    place = 0 if random.random() < 0.5 else int(random.integers(len(content) + 1))
    content[place : place + len(magic)] = magic
    return bytes(content)


def _repeat(random: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    """A piece again and again, as a list of thousands of empty chunks would be."""
    start = int(random.integers(len(content) + 1))
    piece = content[start : start + int(random.integers(1, 64))]
    content[start:start] = piece * int(random.integers(2, 400))
    return bytes(content)


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits, _cut, _splice, _insert_chunk, _edit_header, _write_number, _add_bytes, _write_magic, _repeat,
)  # fmt: skip


def _encoded(picture: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()
