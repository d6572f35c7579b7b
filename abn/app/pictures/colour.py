"""Colours as a person sees them: embedded ICC profiles converted to sRGB, which the networks were trained in."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

_MODES = {"GRAY": "L", "RGB ": "RGB", "CMYK": "CMYK", "Lab ": "LAB"}
"""Pillow's mode by the signature of a profile's colour space (ICC.1:2022, table 19)."""
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_srgb(picture: Image.Image, icc: bytes | None) -> Image.Image:
    """Convert a picture's colours to sRGB.

    A profile that cannot be read, or is of another kind of colour than the picture, is ignored, as viewers do.

    Args:
        picture: of mode L, RGB, CMYK or LAB.
        icc: the ICC profile in its file, if any; LAB needs none.

    Returns:
        A picture of mode RGB.
    """
    try:
        if picture.mode == "LAB":
            return _converted(picture, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
        if icc:
            return _converted(picture, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        pass
    return picture.convert("RGB")


def _converted(picture: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    """
    Raises:
        ValueError: for a profile of another kind of colour.
        ImageCms.PyCMSError: for one that lacks what the conversion needs.
    """
    mode = _MODES.get(profile.profile.xcolor_space)
    if (picture.mode, mode) == ("L", "RGB"):  # a grey file often has the profile of the picture it was made from
        picture = picture.convert("RGB")
    if mode != picture.mode:
        raise ValueError(f"the profile is of {profile.profile.xcolor_space}, the picture of {picture.mode}")
    # Without this flag, a linear grey is looked up in a table whose dark end is off by 7 of 255.
    flags = ImageCms.Flags.HIGHRESPRECALC
    return ImageCms.profileToProfile(picture, profile, _SRGB, outputMode="RGB", flags=flags)
