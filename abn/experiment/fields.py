"""JSON objects from `results/`, taken apart strictly: each field is what it should be, or a message names it."""

from __future__ import annotations

import json
import math
import reprlib
from typing import Any

LARGEST = 1e12  # of any number in these files


class ResultsError(ValueError):
    """A results file that cannot be used; the message names it, what was expected, and the remedy."""


class Fields:
    """The fields of one JSON object.

    Every method answers with the field's value, or raises `ResultsError`; for `maybe`, `flag`, `texts` and `part` it
    may be absent or null.

    Args:
        where: the object's place, for messages.
        remedy: what a person can do about a field that is wrong.
    """

    def __init__(self, values: Any, where: str, remedy: str) -> None:
        self.where, self.remedy = where, remedy
        if not isinstance(values, dict):
            raise ResultsError(f"{where}: {reprlib.repr(values)} stands there; expected a JSON object; {remedy}")
        self.values: dict[str, Any] = values

    def text(self, key: str) -> str:
        """A string that is not empty."""
        value = self.values.get(key)
        if not _is_text(value) or not value.strip():
            raise self._refusal(key, "a text that is not empty")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty where it is null or absent."""
        values = [] if self.values.get(key) is None else self.items(key)
        if not all(map(_is_text, values)):
            raise self._refusal(key, "a list of texts")
        return tuple(values)

    def whole(self, key: str, low: int = 0, high: int = int(LARGEST)) -> int:
        """A whole number in [low, high]."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            limits = f"from {low} to {high}" if high < LARGEST else f"of at least {low}"
            raise self._refusal(key, f"a whole number {limits}")
        return value

    def number(self, key: str, low: float = -LARGEST, high: float = LARGEST) -> float:
        """A finite number in [low, high]."""
        value = self.values.get(key)
        if not _is_number(value) or not low <= value <= high:
            limits = f"from {low:g} to {high:g}" if high < LARGEST else f"of at least {low:g}"
            raise self._refusal(key, "a finite number" if low == -LARGEST else f"a number {limits}")
        return float(value)

    def maybe(self, key: str, low: float = -LARGEST, high: float = LARGEST) -> float | None:
        """A finite number in [low, high], or None where it is null or absent."""
        return None if self.values.get(key) is None else self.number(key, low, high)

    def flag(self, key: str) -> bool:
        """true or false; false where it is null or absent."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._refusal(key, "true or false")
        return bool(value)

    def part(self, key: str) -> Fields | None:
        """An object within this one, or None where it is null or absent."""
        value = self.values.get(key)
        return None if value is None else Fields(value, f"{self.where}, {key}", self.remedy)

    def needed(self, key: str) -> Fields:
        """An object within this one."""
        return Fields(self.values.get(key), f"{self.where}, {key}", self.remedy)

    def parts(self, key: str) -> list[Fields]:
        """A list of objects."""
        return [
            Fields(value, f"{self.where}, {key}[{index}]", self.remedy) for index, value in enumerate(self.items(key))
        ]

    def numbers(self, key: str, low: float, high: float) -> tuple[float, ...]:
        """A list of finite numbers in [low, high]."""
        values = self.items(key)
        if not all(_is_number(value) and low <= value <= high for value in values):
            raise self._refusal(key, f"numbers from {low:g} to {high:g}")
        return tuple(map(float, values))

    def items(self, key: str) -> list[Any]:
        """A list."""
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self._refusal(key, "a list")
        return value

    def _refusal(self, key: str, expected: str) -> ResultsError:
        found = f"is {reprlib.repr(self.values[key])}" if key in self.values else "is not there"
        return ResultsError(f"{self.where}: {key} {found}; expected {expected}; {self.remedy}")


def parse_object(text: str, where: str, remedy: str) -> Fields:
    """The fields of a JSON object.

    Raises:
        ResultsError: for a text that is no JSON object.
    """
    try:
        return Fields(json.loads(text), where, remedy)
    except ResultsError:
        raise
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text.strip() else ""
        raise ResultsError(f"{where}{line}: no JSON ({error.msg}); expected a JSON object; {remedy}") from error
    except (ValueError, RecursionError) as error:  # a number of too many digits, too deep a nesting
        raise ResultsError(f"{where}: JSON that cannot be read; expected a JSON object; {remedy}") from error


def shown(name: str) -> str:
    """A file's name for people and pages: on many systems it may be bytes that are no text in UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _is_text(value: Any) -> bool:
    """Whether a value is a string that can be sent to a page: JSON may have half of a surrogate pair in it."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)
