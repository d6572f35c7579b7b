"""Colour profiles: what the network is shown is what a person sees. Expected values are computed here by equation."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from abn.app.pictures.reading import read_picture

# XYZ of red, green and blue, adapted to D50, as the profiles' own makers write them.
SRGB = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
DISPLAY_P3 = np.array([[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.31111, 0.01947], [0.20528, 0.62567, 0.06087], [0.14919, 0.06322, 0.74457]])
D50 = (0.9642, 1.0, 0.8249)


def icc(space: bytes, gamma: float, colorants: np.ndarray | None = None) -> bytes:
    """A display profile (ICC.1:2022, 8.3 and 8.4): one gamma for all channels, and what each of them shines."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"text" + bytes(4) + b"CC0\0"
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": description.ljust(-(-len(description) // 4) * 4, b"\0"), b"cprt": text}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + fixed(*D50)
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for letter, xyz in zip("rgb", colorants, strict=True):
            tags[f"{letter}XYZ".encode()] = b"XYZ " + bytes(4) + fixed(*xyz)
            tags[f"{letter}TRC".encode()] = curve
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, in 0…255."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected(pixels: np.ndarray, gamma: float, colorants: np.ndarray) -> np.ndarray:
    """(…, 3) in 0…255, of the profile's colours, in sRGB."""
    return srgb((pixels / 255) ** gamma @ colorants @ np.linalg.inv(SRGB))


def encoded(picture: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def colours() -> np.ndarray:
    """(4, 6, 3): colours inside sRGB, and at the end some beyond it."""
    inside = np.random.default_rng(0).integers(70, 190, (3, 6, 3), dtype=np.uint8)
    beyond = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 0, 0], [255, 255, 255]], np.uint8)
    return np.concatenate([inside, beyond[None]])


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("gamma", "colorants"), [(2.2, DISPLAY_P3), (2.19921875, ADOBE_RGB), (1.8, SRGB)])
def test_a_profile_is_converted_to_srgb(format, gamma, colorants):
    options = {"lossless": True} if format == "WEBP" else {}
    pixels = colours()
    data = encoded(Image.fromarray(pixels), format, icc_profile=icc(b"RGB ", gamma, colorants), **options)
    got = np.asarray(read_picture(data), float)
    assert np.abs(expected(pixels, gamma, colorants) - pixels)[:3].max() > 8  # else the test would show nothing
    np.testing.assert_allclose(got, expected(pixels, gamma, colorants), atol=2.5)


@pytest.mark.parametrize("format", ["JPEG", "HEIF", "AVIF"])
def test_photographs_with_display_p3_are_converted(format):
    import pillow_heif

    pillow_heif.register_heif_opener()
    pixels = np.full((64, 64, 3), (90, 200, 60), dtype=np.uint8)
    data = encoded(
        Image.fromarray(pixels), format, quality=98, subsampling="4:4:4", icc_profile=icc(b"RGB ", 2.2, DISPLAY_P3)
    )
    got = np.asarray(read_picture(data), float)[32, 32]
    np.testing.assert_allclose(got, expected(pixels[0, 0], 2.2, DISPLAY_P3), atol=5)
    assert got[0] < 70  # of 90


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_grey_with_a_gamma_of_its_own_is_converted(gamma):
    grey = np.arange(0, 256, 5, dtype=np.uint8)[None]
    got = np.asarray(read_picture(encoded(Image.fromarray(grey), "PNG", icc_profile=icc(b"GRAY", gamma))), float)
    np.testing.assert_allclose(got, np.repeat(srgb((grey / 255) ** gamma)[..., None], 3, -1), atol=2)


def test_deep_grey_and_transparency_are_converted_too():
    profile = icc(b"GRAY", 1.0)
    deep = Image.fromarray(np.full((2, 2), 64 * 257, dtype=np.uint16))
    half = Image.new("LA", (2, 2), (64, 128))
    linear = srgb(np.array(64 / 255)).item()
    assert read_picture(encoded(deep, "PNG", icc_profile=profile)).getpixel((0, 0))[1] == pytest.approx(linear, abs=2)
    over_white = 255 + (linear - 255) * 128 / 255
    assert read_picture(encoded(half, "PNG", icc_profile=profile)).getpixel((0, 0))[1] == pytest.approx(
        over_white, abs=2
    )


def test_a_profile_of_srgb_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = colours()
    got = np.asarray(read_picture(encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)), int)
    assert np.abs(got - pixels).max() <= 1


def test_a_grey_picture_with_the_profile_of_a_colour_one_is_converted_by_it():
    grey = np.arange(60, 200, 20, dtype=np.uint8)[None]
    data = encoded(Image.fromarray(grey), "PNG", icc_profile=icc(b"RGB ", 1.8, DISPLAY_P3))
    three = np.repeat(grey[..., None], 3, -1)
    np.testing.assert_allclose(np.asarray(read_picture(data), float), expected(three, 1.8, DISPLAY_P3), atol=2.5)


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        icc(b"RGB ", 1.8, DISPLAY_P3)[:200],
        icc(b"GRAY", 1.0),  # the picture is in colour
        icc(b"RGB ", 1.8, DISPLAY_P3).replace(b"rTRC", b"xTRC"),
        icc(b"RGB ", 1.8, DISPLAY_P3).replace(b"RGB ", b"CMYK", 1),
    ],
    ids=["text", "cut", "of grey", "without a curve", "of four colours"],
)
def test_a_profile_that_is_broken_or_of_another_kind_is_ignored(profile):
    pixels = colours()
    assert np.array_equal(read_picture(encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)), pixels)


def test_lab_is_converted():
    """CIE 15, 8.2.1: from L*, a*, b* under D50."""
    lightness, a, b = 148 * 100 / 255, 40, 20
    middle = (lightness + 16) / 116
    xyz = np.array(D50) * np.array([middle + a / 500, middle, middle - b / 200]) ** 3
    picture = Image.new("LAB", (4, 4), (148, 128 + a, 128 + b))
    got = read_picture(encoded(picture, "TIFF")).getpixel((1, 1))
    np.testing.assert_allclose(got, srgb(xyz @ np.linalg.inv(SRGB)), atol=2)
