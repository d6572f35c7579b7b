"""Pictures from people: any file to an upright RGB picture, and that to the 32×32 pixels a network sees.

Files come from strangers, so they are read in this order: size of the header's picture, then pixels, then
colour. Only six formats are tried, and whatever else arrives is answered with one sentence (`PictureError`).

Colours are converted plainly: embedded profiles are not applied, and transparency is laid over white.
"""

from __future__ import annotations

import io
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from abn.app.pictures.headers import HeaderError, ReadBudget, orientation, tamed
from abn.common.data import IMAGE_SIZE

ACCEPTED = "PNG, JPEG, WebP, GIF, BMP or TIFF"
MAX_PIXELS = 50_000_000
# Pillow's names; a JPEG may turn out to be an MPO, whose first picture is taken.
_FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WebP", "GIF": "GIF", "BMP": "BMP", "TIFF": "TIFF"}

# A picture of 50 megapixels takes 200 MB while it is decoded, and another 200 MB where it has transparency.
_DECODING = threading.BoundedSemaphore(2)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by the value of EXIF's orientation tag
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")
_BITS_PER_SAMPLE_TAG, _PHOTOMETRIC_TAG = 258, 262

Image.init()  # registers all formats once; doing so at the first picture would not be safe under threads
# Pillow warns of odd metadata with texts that differ from file to file; Python remembers each, for ever. It is
# filtered here, not around each call, because `warnings.catch_warnings` is not safe under threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PictureError(ValueError):
    """A file that cannot be used as a picture: one sentence for whoever sent it, without any path."""


def read_picture(source: bytes | Path) -> Image.Image:
    """Read a picture, upright and in RGB, at its own size.

    Of an animation or a file of several pages the first picture is taken. Greyscale of 16 bits is scaled to
    8; a floating-point TIFF must lie within 0…1. EXIF that cannot be read is ignored. A file that ends early is
    refused, unless every pixel is there.

    Args:
        source: the file's content, or where it lies.

    Returns:
        A picture of mode RGB, from 1×1 to `MAX_PIXELS` pixels.

    Raises:
        PictureError: for everything else, with a sentence that says what is wrong and what is accepted.
    """
    data = source if isinstance(source, bytes) else read_file(source)
    try:
        with _DECODING:
            picture = _open(data)
            name = _FORMATS.get(picture.format or "", "JPEG")
            with _any_failure_means(_damaged(name)):
                picture.load()
            _mend_transparent_colour(picture, data)
            turn = _turn_upright(picture)
            rgb = _to_rgb(picture, name)
            return rgb if turn is None else rgb.transpose(turn)
    except MemoryError as error:
        raise PictureError(
            "There is no room for a picture of this size just now; try again later, or send a smaller one."
        ) from error


def read_file(path: Path) -> bytes:
    """A file's content.

    Raises:
        PictureError: for one that is not there or cannot be read.
    """
    try:
        if stat.S_ISREG(path.stat().st_mode):  # a named pipe would block
            return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise PictureError(f"The file could not be read ({error.strerror}); send a picture as {ACCEPTED}.") from error
    raise PictureError(f"There is no such file; send a picture as {ACCEPTED}.")


def _open(data: bytes) -> Image.Image:
    """Read the header only, and judge the size it states.

    Formats are called one by one, and not through `Image.open`, which warns or raises on large pictures
    before their size can be told, by a limit that is one for the whole process.
    """
    if not data:
        raise PictureError(f"The file is empty; send a picture as {ACCEPTED}.")
    for name in _FORMATS:
        factory, accepts = Image.OPEN[name]
        if accepts is None or accepts(data[:16]):
            break
    else:
        raise _unknown(data)
    try:
        data, exif = tamed(data, name)
    except HeaderError as error:
        if not str(error):
            raise _damaged(_FORMATS[name]) from error
        raise PictureError(f"The {name} {error}; save it anew, or send another picture as {ACCEPTED}.") from error
    with _any_failure_means(_damaged(_FORMATS[name])):
        picture = factory(ReadBudget(data) if name == "TIFF" else io.BytesIO(data), "")
    if exif:
        picture.info["exif"] = exif
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"This picture has {width:,} × {height:,} pixels, {width * height / 1e6:,.1f} megapixels; "
            f"at most {MAX_PIXELS / 1e6:.0f} megapixels are accepted."
        )
    return picture


@contextmanager
def _any_failure_means(answer: PictureError) -> Iterator[None]:
    try:
        yield
    # Pillow's decoders meet hostile files with OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError,
    # EOFError, OverflowError, struct.error, zlib.error, DecompressionBombError, and no list is complete.
    except MemoryError:
        raise
    except Exception as error:
        raise answer from error


def _damaged(name: str) -> PictureError:
    return PictureError(f"This {name} file is damaged or incomplete; send a whole picture as {ACCEPTED}.")


def _unknown(data: bytes) -> PictureError:
    if re.search(rb"<svg[\s>]", data[:4096], re.IGNORECASE) and data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return PictureError(f"SVG is a drawing and has no pixels of its own; save it as {ACCEPTED} and send that.")
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"):
        return PictureError(f"HEIC and AVIF pictures cannot be read here; save it as {ACCEPTED} and send that.")
    return PictureError(f"This file is not a picture that can be read here; send one as {ACCEPTED}.")


def _turn_upright(picture: Image.Image) -> Image.Transpose | None:
    """The turn that EXIF asks for, or XMP; none where both are unreadable.

    Pillow turns TIFF pictures itself as it loads them. EXIF of others is not read by Pillow, see `picture_headers`.
    """
    if picture.format == "TIFF":
        return None
    info = picture.info
    exif = info.get("exif") or _raw_profile(info.get("Raw profile type exif", ""))
    turn = orientation(exif) if isinstance(exif, bytes) else None
    if turn is None:
        xmp = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
        found = _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
        turn = int(found[1]) if found else None
    return _UPRIGHT.get(turn)


def _raw_profile(text: str) -> bytes:
    """EXIF as ImageMagick writes it into a PNG's text: three lines, then hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _mend_transparent_colour(picture: Image.Image, data: bytes) -> None:
    """Bring a PNG's transparent colour to 8 bits, as Pillow does its pixels and not that: it compares the two.

    PNG, 11.3.2: the colour has the picture's depth. Of 16 bits the high byte is compared, which is what is left.
    """
    colour, depth = picture.info.get("transparency"), data[24] if len(data) > 24 else 8
    if picture.format != "PNG":
        return
    if picture.mode == "RGB" and depth == 16 and isinstance(colour, tuple):
        picture.info["transparency"] = tuple(value >> 8 for value in colour)
    elif picture.mode == "L" and depth in (2, 4) and isinstance(colour, int):
        picture.info["transparency"] = colour * (255 // (2**depth - 1))


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _deep_grey(picture).convert("RGB")
    if picture.has_transparency_data:
        with _any_failure_means(_damaged(name)):
            layers = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        rgb = Image.new("RGB", picture.size, "white")
        rgb.paste(layers, mask=layers.getchannel("A"))
        return rgb
    with _any_failure_means(_damaged(name)):
        rgb = picture.convert("RGB")  # a copy also of an RGB picture: it does not hold the file
    rgb.info = {}
    return rgb


def _deep_grey(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to 8; Pillow's own conversion clips at 255, which turns pictures white."""
    values, tags = np.asarray(picture), getattr(picture, "tag_v2", {})
    white_is_zero = tags.get(_PHOTOMETRIC_TAG) == 0  # Pillow turns such pictures round up to 8 bits alone
    if picture.mode == "F":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise PictureError(
                "This picture holds floating-point values outside 0 to 1, and how bright they are meant to be "
                "is unknown; save it with 8 or 16 bits a channel."
            )
        grey = np.round(values * 255).astype(np.uint8)
        return Image.fromarray(255 - grey if white_is_zero else grey)
    if values.min() < 0 or values.max() > 65535:
        raise PictureError(
            "This picture holds values beyond 0 to 65,535, and how bright they are meant to be "
            "is unknown; save it with 8 or 16 bits a channel."
        )
    brightest = 4095 if tags.get(_BITS_PER_SAMPLE_TAG) == (12,) else 65535
    grey = ((values.astype(np.uint32) * 255 + brightest // 2) // brightest).astype(np.uint8)
    if white_is_zero:
        grey = 255 - grey
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255  # over white
    return Image.fromarray(grey)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a network is shown of a picture.

    Attributes:
        pixels: (size, size, 3) uint8.
        box: the part used: left, top, right, bottom in the picture's pixels, right and bottom exclusive.
        original_size: the picture's width and height.
        scaled_size: width and height that the part used has within `pixels`; less than `size` where padded.
        mode: a key of `FITS`.
    """

    pixels: np.ndarray
    box: tuple[int, int, int, int]
    original_size: tuple[int, int]
    scaled_size: tuple[int, int]
    mode: str

    @property
    def enlarged(self) -> bool:
        """Whether the part used has fewer pixels than the network is shown."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1]) < max(self.scaled_size)


def _crop(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _whole(width: int, height: int) -> tuple[int, int, int, int]:
    return 0, 0, width, height


FITS: dict[str, Callable[[int, int], tuple[int, int, int, int]]] = {"crop": _crop, "pad": _whole}
"""How a picture becomes a square: its centre, or all of it with black bars (training pads with black too)."""


def fit(picture: Image.Image, mode: str = "crop", size: int = IMAGE_SIZE) -> Fitted:
    """Scale a picture to the square a network sees; one that has that size already is left untouched.

    Args:
        picture: RGB, of any shape.
        mode: "crop" uses the centre square, "pad" the whole picture between black bars.
        size: side of the square in pixels.

    Raises:
        ValueError: for another mode, or a picture that is not RGB.
    """
    if mode not in FITS:
        raise ValueError(f"cannot fit a picture by {mode!r}; choose one of {', '.join(FITS)}")
    if picture.mode != "RGB":
        raise ValueError(f"expected an RGB picture, as read_picture returns it; got mode {picture.mode}")
    box = FITS[mode](*picture.size)
    width, height = box[2] - box[0], box[3] - box[1]
    longest = max(width, height)
    scaled_size = tuple(max(1, round(side * size / longest)) for side in (width, height))
    # The filter widens with the reduction, so nothing aliases; `reducing_gap` averages whole blocks first, which
    # bounds time and memory also for a strip of 1 × 50,000,000.
    scaled = picture.resize(scaled_size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    square = Image.new("RGB", (size, size))
    square.paste(scaled, ((size - scaled_size[0]) // 2, (size - scaled_size[1]) // 2))
    return Fitted(np.array(square), box, picture.size, scaled_size, mode)


def describe(fitted: Fitted) -> str:
    """One sentence on which part of the picture is used, and how."""
    left, top, right, bottom = fitted.box
    size = fitted.pixels.shape[0]
    width, height = fitted.original_size
    whole = (right - left, bottom - top) == (width, height)
    part = "all of it is used" if whole else f"the centre {_times(right - left, bottom - top)} is used"
    padded = "" if fitted.scaled_size == (size, size) else f", with black bars to {_times(size, size)}"
    if (right - left, bottom - top) == fitted.scaled_size:
        return f"{_times(width, height)}: {part}, pixel for pixel{padded}."
    done = "enlarged" if fitted.enlarged else "scaled"
    return f"{_times(width, height)}: {part}, {done} to {_times(*fitted.scaled_size)}{padded}."


def _times(width: int, height: int) -> str:
    return f"{width:,} × {height:,}"


def show_used_part(picture: Image.Image, fitted: Fitted, max_side: int = 640) -> Image.Image:
    """The picture, at most `max_side` on its longer side, with what the network does not see darkened."""
    scale = min(1.0, max_side / max(picture.size))
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    preview = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    across, down = size[0] / picture.width, size[1] / picture.height
    left, top, right, bottom = fitted.box
    used = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    used = (used[0], used[1], max(used[2], used[0] + 1), max(used[3], used[1] + 1))
    shown = Image.blend(preview, Image.new("RGB", size, (24, 24, 24)), 0.75)
    ImageDraw.Draw(shown).rectangle((used[0] - 1, used[1] - 1, used[2], used[3]), outline="white")
    shown.paste(preview.crop(used), used[:2])
    return shown


def enlarge(pixels: np.ndarray, factor: int = 8) -> Image.Image:
    """(H, W, 3) uint8 pixels as a picture `factor` times as large, every pixel a plain square."""
    picture = Image.fromarray(pixels)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
