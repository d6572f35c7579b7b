"""Which pictures are read, and what is said of one that is not."""

from __future__ import annotations

ACCEPTED = "PNG, JPEG, HEIC, AVIF, WebP, GIF, BMP or TIFF"
"""What people are advised to send; `FORMATS` has all."""
FORMATS = {
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WebP",
    "GIF": "GIF",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "HEIF": "HEIC",
    "AVIF": "AVIF",
    "JPEG2000": "JPEG 2000",
    "ICO": "ICO",
    "PPM": "PPM",
    "TGA": "TGA",  # last: its files begin with nothing that tells them from others
}
"""Pillow's name of each format, and what people call it."""
SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif",
    ".hif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
})  # fmt: skip
MAX_PIXELS = 50_000_000


class PictureError(ValueError):
    """A file that cannot be used as a picture: one sentence for whoever sent it, without any path."""
