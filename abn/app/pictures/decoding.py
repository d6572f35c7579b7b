"""A picture's file to upright pixels in sRGB. Runs in the process that `abn.app.pictures.process` keeps for it.

Files come from strangers: Pillow's decoders meet whatever is in them, and what that may cost is bounded by the
process's limits, not here.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from abn.app.pictures.colour import to_srgb
from abn.app.pictures.formats import ACCEPTED, FORMATS, MAX_PIXELS, PictureError

KEPT_SIDE = 640
"""Pixels that the shorter side of a reduced picture has at least: 20 times what a network sees."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of a TIFF
_FLOATING_POINT = 3  # a TIFF's sample format

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the value of EXIF's orientation tag
_ACROSS = {_TURNS[value] for value in (5, 6, 7, 8)}  # these exchange width and height

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}

Image.init()  # registers Pillow's formats
PngImagePlugin.MAX_TEXT_MEMORY = sys.maxsize  # texts are not looked at, and the process's limit holds
# A thumbnail or depth map need not be of the picture, so none is looked at.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


@dataclass(frozen=True)
class Decoded:
    """A picture in sRGB.

    Attributes:
        image: of mode RGB, upright, its sides 1/`reduced` of the file's, rounded up.
        size: width and height in the file, upright.
        reduced: 1 for a picture at its own size, or a power of two.
    """

    image: Image.Image
    size: tuple[int, int]
    reduced: int


def decode(data: bytes) -> Decoded:
    """Read a picture's file.

    Of an animation or a file of several pages the first picture is taken. Greyscale of 16 bits is scaled to 8; a
    floating-point TIFF must lie within 0…1. Transparency is laid over white. A large picture is reduced, by averages
    of whole squares of pixels, as far as its shorter side keeps `KEPT_SIDE`. EXIF, profiles and texts that cannot be
    read are ignored. A file that ends early is refused, unless every pixel is there.

    Raises:
        PictureError: for what cannot be read, with a sentence that says what is wrong and what is accepted.
        MemoryError: where the process may not have as much as the file asks for.
    """
    picture = _open(data)
    width, height = picture.size
    _require_size(width, height)
    reduced = 1
    while min(width, height) // (2 * reduced) >= KEPT_SIDE:
        reduced *= 2
    if picture.format == "JPEG":  # the decoder leaves out what is reduced, up to 8 times; others' thumbnails may lie
        picture.draft(None, (width // reduced, height // reduced))
    drafted = -(-width // picture.width)
    with _any_failure_means(damaged(FORMATS[picture.format])):
        picture.load()
        if drafted == 1:  # an icon's true size is known only now
            width, height = picture.size
            _require_size(width, height)
        image = _coloured(picture, data)
        if reduced > drafted:
            image = image.reduce(reduced // drafted)
        image = _over_white(image, picture.info.get("icc_profile"))
    if (turn := _turn(picture)) is not None:
        image = image.transpose(turn)
        if turn in _ACROSS:
            width, height = height, width
    return Decoded(image, (width, height), reduced)


def damaged(name: str) -> PictureError:
    return PictureError(f"This {name} file is damaged or incomplete; send a whole picture as {ACCEPTED}.")


@contextmanager
def _any_failure_means(answer: PictureError) -> Iterator[None]:
    try:
        yield
    # Pillow's decoders meet hostile files with OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError,
    # EOFError, OverflowError, struct.error, zlib.error, DecompressionBombError, and no list is complete.
    except (MemoryError, PictureError):
        raise
    except Exception as error:
        raise answer from error


def _require_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"This picture has {width:,} × {height:,} pixels, {width * height / 1e6:,.1f} megapixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} megapixels are accepted."
        )


# What the file is


class _Png(PngImagePlugin.PngImageFile):
    """A PNG in which chunks that do not change its pixels may be broken: Pillow then leaves them out."""

    def _open(self) -> None:
        with _lenient():
            super()._open()

    def load_end(self) -> None:
        with _lenient():
            super().load_end()


@contextmanager
def _lenient() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # one for all threads, of which this process has one
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF that says what Pillow cannot read of it."""

    def _setup(self) -> None:
        try:
            super()._setup()
        except (SyntaxError, KeyError) as error:
            bits, kinds = self.tag_v2.get(_BITS_PER_SAMPLE), self.tag_v2.get(_SAMPLE_FORMAT, ())
            if isinstance(bits, tuple) and _FLOATING_POINT in kinds:
                raise PictureError(
                    f"This TIFF has {len(bits)} × {bits[0]} bits of floating point a pixel, and only 1 × 32 bits "
                    "can be read; save it with 8 or 16 bits a channel."
                ) from error
            raise PictureError(
                "This TIFF stores its pixels in a way that cannot be read here, or is damaged; save it without "
                f"compression and with 8 or 16 bits a channel, or send a picture as {ACCEPTED}."
            ) from error


# A JPEG of several pictures, an MPO, is read as the first of them.
_FACTORIES = {"PNG": _Png, "JPEG": JpegImagePlugin.JpegImageFile, "TIFF": _Tiff}


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header only."""
    if not data:
        raise PictureError(f"The file is empty; send a picture as {ACCEPTED}.")
    if (name := _format(data)) is None:
        raise _unknown(data)
    answer = damaged(FORMATS[name])
    if name == "TGA":  # whatever is nothing else
        answer = _unknown(data)
    elif name == "WEBP":  # its decoder makes room for all pixels at once, and says of no failure which it was
        answer = PictureError(
            f"This WebP file is damaged, or has more than {MAX_PIXELS / 1e6:.0f} megapixels; "
            f"send a whole picture as {ACCEPTED}."
        )
    with _any_failure_means(answer):
        return _FACTORIES.get(name, Image.OPEN[name][0])(io.BytesIO(data), "")


def _format(data: bytes) -> str | None:
    """Pillow's name of the format, by what the file begins with."""
    if data[4:8] == b"ftyp":  # ISO/IEC 14496-12: the size of the box, its name, and the brands that it fits
        brands = {data[place : place + 4] for place in range(8, min(int.from_bytes(data[:4], "big"), 256), 4)}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        return "HEIF" if brands & _HEIF_BRANDS else None
    for name in FORMATS:
        accepts = Image.OPEN[name][1]
        if name == "TGA" or accepts(data[:16]):
            return name
    return None


def _unknown(data: bytes) -> PictureError:
    if re.search(rb"<svg[\s>]", data[:4096], re.IGNORECASE) and data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return PictureError(f"SVG is a drawing and has no pixels of its own; save it as {ACCEPTED} and send that.")
    return PictureError(f"This file is not a picture that can be read here; send one as {ACCEPTED}.")


# Its colours


def _coloured(picture: Image.Image, data: bytes) -> Image.Image:
    """As mode L, RGB, CMYK or LAB, or LA or RGBA where it has transparency; 8 bits a channel."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _deep_grey(picture)
    if picture.format == "PNG":
        _mend_transparent_colour(picture, data)
    if picture.has_transparency_data:
        layers = picture.convert("LA" if picture.mode in ("L", "LA", "La") else "RGBA")
        # In these the fourth byte may mean nothing, and is 0 then: viewers show such a picture as opaque.
        if picture.format in ("BMP", "ICO", "TGA") and layers.getchannel("A").getextrema() == (0, 0):
            return layers.convert("L" if layers.mode == "LA" else "RGB")
        return layers
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else picture.convert("RGB")


def _over_white(image: Image.Image, icc: bytes | None) -> Image.Image:
    """As RGB in sRGB, laid over white where it is transparent."""
    if image.mode not in ("LA", "RGBA"):
        return to_srgb(image, icc)
    colours = to_srgb(image.convert(image.mode[:-1]), icc)
    white = Image.new("RGB", image.size, "white")
    white.paste(colours, mask=image.getchannel("A"))
    return white


def _mend_transparent_colour(picture: Image.Image, data: bytes) -> None:
    """Bring a PNG's transparent colour to 8 bits, as Pillow does its pixels and not that: it compares the two.

    PNG, 11.3.2: the colour has the picture's depth. Of 16 bits the high byte is compared, which is what is left.
    """
    colour, depth = picture.info.get("transparency"), data[24]
    if picture.mode == "RGB" and depth == 16 and isinstance(colour, tuple):
        picture.info["transparency"] = tuple(value >> 8 for value in colour)
    elif picture.mode == "L" and depth in (2, 4) and isinstance(colour, int):
        picture.info["transparency"] = colour * (255 // (2**depth - 1))


def _deep_grey(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8; Pillow's own conversion clips at 255, which turns pictures white."""
    values, tags = np.asarray(picture), getattr(picture, "tag_v2", {})
    if picture.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise PictureError(
                "This picture holds floating-point values outside 0 to 1, and how bright they are meant to be "
                "is unknown; save it with 8 or 16 bits a channel."
            )
        grey = np.round(values * 255).astype(np.uint8)
    else:
        if values.min() < 0 or values.max() > 65535:
            raise PictureError(
                "This picture holds values beyond 0 to 65,535, and how bright they are meant to be "
                "is unknown; save it with 8 or 16 bits a channel."
            )
        brightest = 4095 if tags.get(_BITS_PER_SAMPLE) == (12,) else 65535
        levels = (np.arange(65536, dtype=np.uint32) * 255 + brightest // 2) // brightest
        grey = levels.clip(max=255).astype(np.uint8)[values]
    if tags.get(_PHOTOMETRIC) == 0:  # white is 0: Pillow turns such pictures round up to 8 bits alone
        grey = 255 - grey
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255  # over white
    return Image.fromarray(grey)


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """The turn that EXIF asks for, or XMP; none where both are unreadable.

    Pillow turns TIFF pictures itself as it loads them, and libheif HEIC.
    """
    if picture.format == "TIFF":
        return None
    with suppress(Exception):  # Pillow names no list of what odd EXIF raises
        return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    return None
