"""Names that strangers chose: one line of text, which neither a terminal nor a page obeys; numbers; columns."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

LONGEST_TEXT = 1000  # characters of any name or note
LEVEL = 0.05  # of a p-value, below which a difference counts as shown
_JOINERS = "\u200c\u200d"  # zero width; Persian, Indic scripts and emoji of several parts are not written without


def is_line(text: str) -> bool:
    """Whether a name can stand in a file and on a page as it is: visible, without breaks, escapes or hidden marks."""
    return all(map(_is_plain, text)) and any(c.isprintable() and not c.isspace() for c in text)


def one_line(text: str, longest: int) -> str:
    """The first `longest` characters, with question marks for what `is_line` does not allow."""
    return "".join(c if _is_plain(c) else "?" for c in text[:longest])


def whole_number(text: str) -> int | None:
    """A number in plain digits; None for anything else, or for more digits than anything here can have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def escape(text: str) -> str:
    """Text from a checkpoint or a file, for Markdown: no markup, address or formula in it, and a single line.

    So no picture of a foreign host either. A zero-width space keeps what looks like an address from being one.
    """
    plain = " ".join(html.escape(text, quote=False).split())
    plain = re.sub(r"(://|www)", lambda found: f"{found[0][0]}\u200b{found[0][1:]}", plain, flags=re.IGNORECASE)
    return re.sub(r"([\\`*_\[\]!|~#$])", r"\\\1", plain)


def _is_plain(character: str) -> bool:
    # Python counts the space alone as printable, and not those of other widths or that forbid a break.
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of as many cells each, as columns of text."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def percentage(share: float) -> str:
    """A share in [0, 1] in percent; a small one is not called 0."""
    return "under 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def p_value(p: float) -> str:
    """A p-value: two digits, more where they would put it on the other side of `LEVEL`, and "< 0.001"."""
    if p < 0.001:
        return "< 0.001"
    texts = (f"{p:.{digits}g}" for digits in range(2, 17))
    return next((text for text in texts if (float(text) < LEVEL) == (p < LEVEL)), f"{p:.17g}")
