"""A JSON document from a stranger, read part by part: every part knows where it stands and what may stand there."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abn.common.texts import LONGEST_TEXT, is_line

MOST_NAMES = 10_000
LARGEST_NUMBER = 1e30  # far from where float32 overflows, and far above anything a network says
MOST_LISTS = 200_000  # a list takes sixty bytes and only two in the file


class ExportError(ValueError):
    """An export that cannot be opened or made: one sentence that says what is wrong and what to do."""


def parse(data: bytes, largest: int) -> Part:
    """The whole document.

    Raises:
        ExportError: for what is too large or nested to be worth reading, or no JSON.
    """
    if len(data) > largest:
        raise ExportError(
            f"The file has {len(data):,} bytes, and an export at most {largest:,}; open the result.json of a bundle."
        )
    if data.count(b"[") + data.count(b"{") > MOST_LISTS:
        raise ExportError(f"The file holds more than {MOST_LISTS:,} lists; it is no export of this program.")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ExportError(
            "The file is no JSON, or was cut short; open the result.json of a bundle, whole as it was written."
        ) from error
    return Part(document, "")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True)
class Part:
    """One value of the document.

    Attributes:
        where: its place, e.g. "dmb.blocks.layer1.0.factors".
    """

    value: Any
    where: str

    @property
    def is_null(self) -> bool:
        return self.value is None

    def error(self, expected: str) -> ExportError:
        """What to raise where the value is not what was expected."""
        return ExportError(f"{self.where or 'The file'} is {_shortened(self.value)}; expected {expected}.")

    def object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return self.value

    def part(self, key: str) -> Part:
        """The member `key` of an object, which has to be there."""
        members = self.object()
        if key not in members:
            raise ExportError(f"{self.where or 'The file'} has no {key!r}; it is no whole export.")
        return Part(members[key], f"{self.where}.{key}" if self.where else key)

    def optional(self, key: str) -> Part | None:
        """The member `key`; None where it is missing or null."""
        if self.object().get(key) is None:
            return None
        return self.part(key)

    def elements(self) -> list[Part]:
        if not isinstance(self.value, list):
            raise self.error("a list")
        return [Part(value, f"{self.where}[{index}]") for index, value in enumerate(self.value)]

    def text(self, longest: int = LONGEST_TEXT) -> str:
        """A text in one line, not empty, as `abn.common.texts` has it."""
        if not (isinstance(self.value, str) and is_line(self.value)):
            raise self.error("a text in one line")
        if len(self.value) > longest:
            raise self.error(f"a text of at most {longest:,} characters")
        return self.value

    def text_or_none(self) -> str | None:
        return None if self.is_null else self.text()

    def choice(self, choices: Sequence[str]) -> str:
        if not isinstance(self.value, str) or self.value not in choices:
            raise self.error(f"one of {', '.join(choices)}")
        return self.value

    def sha256(self) -> str:
        value = self.value
        if not (isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")):
            raise self.error("64 hexadecimal digits")
        return value

    def names(self) -> tuple[str, ...]:
        """One or more different texts."""
        if isinstance(self.value, list) and len(self.value) > MOST_NAMES:
            raise self.error(f"a list of at most {MOST_NAMES:,} names")
        names = tuple(element.text() for element in self.elements())
        if not names or len(set(names)) != len(names):
            raise self.error("a list of one or more different names")
        return names

    def whole(self, least: int = 0, most: int = 2**31 - 1) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not least <= self.value <= most:
            raise self.error(f"a whole number from {least:,} to {most:,}")
        return self.value

    def wholes(self, count: int, least: int = 0) -> tuple[int, ...]:
        if not isinstance(self.value, list) or len(self.value) != count:
            raise self.error(f"{count} whole numbers")
        return tuple(element.whole(least) for element in self.elements())

    def number(self) -> float:
        if not _is_number(self.value):
            raise self.error("a finite number")
        return float(self.value)

    def array(self, *shape: int | None, gaps: bool = False, low: float = -math.inf, high: float = math.inf) -> Any:
        """Nested lists of numbers as an array.

        Args:
            shape: the lengths; None where any of at least 1 will do.
            gaps: whether null may stand for a number that is not finite.
            low, high: what the numbers may be.

        Returns:
            float32; NaN for null.
        """
        flat: list[float] = []
        found = self._collect(self.value, shape, flat, gaps)
        values = np.array(flat, np.float64)
        with np.errstate(invalid="ignore"):
            outside = (values < low) | (values > high)
        if outside.any():
            raise ExportError(f"{self.where} holds {values[outside][0]:.6g}; expected {low:g} to {high:g}.")
        return values.astype(np.float32).reshape(found)

    def _collect(self, value: Any, shape: Sequence[int | None], flat: list[float], gaps: bool) -> tuple[int, ...]:
        if not shape:
            if not (_is_number(value) or (gaps and value is None)):
                raise ExportError(f"{self.where} holds {_shortened(value)}; expected finite numbers.")
            flat.append(math.nan if value is None else value)
            return ()
        first, *rest = shape
        if not isinstance(value, list) or (len(value) != first if first is not None else not value):
            size = f"a list of {len(value)}" if isinstance(value, list) else _shortened(value)
            expected = "one or more" if first is None else f"{first}"
            raise ExportError(f"{self.where} holds {size}; expected a list of {expected}.")
        inner = {self._collect(element, rest, flat, gaps) for element in value}
        if len(inner) > 1:
            raise ExportError(f"{self.where} holds lists of different lengths; expected equal ones.")
        return len(value), *inner.pop()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER


def _shortened(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a number of too many digits"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
