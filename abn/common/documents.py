"""JSON documents from outside, read strictly by pydantic; what does not fit is told in the project's words.

    @dataclass(frozen=True)
    class Run:
        __pydantic_config__ = STRICT
        arm: Text
        epochs: Annotated[int, Within(1, 1_000)]

    read_document(Run, b'{"arm": "se", "epochs": 0}')
    # DocumentError: epochs is 0; expected a whole number from 1 to 1,000

The outermost dataclass needs `STRICT`; those inside it inherit it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, FailFast, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from abn.common.texts import LONGEST_TEXT, is_line, one_line

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
"""No text for a number, no fraction for a whole number, no NaN; members nobody asks for are passed over."""

LARGEST = 10**12  # of a number whose limits nothing else says
LONGEST_SHOWN = 60  # characters of a value in a message
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "greater_than_equal": "at least {ge:g}",
    "less_than_equal": "at most {le:g}",
}
"""pydantic's type of error → what was expected instead."""

T = TypeVar("T")


class DocumentError(ValueError):
    """A document that cannot be used.

    Attributes:
        place: of what is wrong, e.g. "blocks.b1.factors[3]"; "" for the whole document.
        problem: the rest of the sentence, e.g. "is 0; expected a whole number of at least 1".
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place or 'the document'} {problem}")
        self.place = place
        self.problem = problem


@dataclass(frozen=True)
class Expected:
    """Metadata of a field: what may stand there.

    Attributes:
        words: what was expected, for the message; they replace all that pydantic says of the field.
        allows: of a value of the field's type, whether it may stand there.
    """

    words: str
    allows: Callable[[Any], bool] = lambda value: True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
            try:
                found = validate(value)
                if self.allows(found):
                    return found
            except ValidationError:
                pass
            raise PydanticCustomError("expected", "{expected}", {"expected": self.words})

        schema = handler(source)
        if schema["type"] == "tuple":
            schema = {**schema, "strict": False}  # `validate` is given the JSON's list
        return core_schema.no_info_wrap_validator_function(check, schema)


@dataclass(frozen=True)
class Within:
    """Metadata of an `int` or `float` field: its limits, both included."""

    low: float
    high: float = LARGEST

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kind, form = ("a whole number", ",") if source is int else ("a number", "g")
        limits = f"of at least {self.low:{form}}"
        if self.high < LARGEST:
            limits = f"from {self.low:{form}} to {self.high:{form}}"
        expected = Expected(f"{kind} {limits}", lambda value: self.low <= value <= self.high)
        return expected.__get_pydantic_core_schema__(source, handler)


Text = Annotated[str, Expected("a text that is not empty", lambda text: text.strip() != "")]
Line = Annotated[
    str,
    Expected(
        f"a text in one line of at most {LONGEST_TEXT:,} characters",
        lambda text: len(text) <= LONGEST_TEXT and is_line(text),
    ),
]
Sha256 = Annotated[str, Expected("64 hexadecimal digits", lambda text: _SHA256.fullmatch(text) is not None)]


MOST_NAMES = 1_000  # of classes: each is a choice in several lists of the page
Names = Annotated[
    tuple[Line, ...],
    FailFast(),
    Expected(
        f"a list of one or more different names, at most {MOST_NAMES:,}, each in one line of at most "
        f"{LONGEST_TEXT:,} characters",
        lambda names: 0 < len(names) <= MOST_NAMES and len(set(names)) == len(names),
    ),
]


class NotJsonError(DocumentError):
    """A text that is no JSON, or has an end missing."""


def read_document(kind: type[T], content: str | bytes) -> T:
    """Read JSON as a dataclass.

    Args:
        kind: a dataclass with `STRICT` as its configuration.
        content: from anybody; bytes are UTF-8. Its size is the caller's to limit, and nesting ends at 200 levels.

    Raises:
        DocumentError: for what is no JSON, or does not fit.
    """
    try:
        return _adapter(kind).validate_json(content)
    except ValidationError as error:
        raise _told(error) from error


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _told(error: ValidationError) -> DocumentError:
    """The first of pydantic's errors; what its object lacks is listed whole."""
    errors = error.errors(include_url=False)
    first = errors[0]
    where, context = first["loc"], first.get("ctx", {})
    if first["type"] == "json_invalid":
        return NotJsonError("", f"is not JSON ({context['error']})")
    if first["type"] == "missing":
        lacks = [each["loc"][-1] for each in errors if each["type"] == "missing" and each["loc"][:-1] == where[:-1]]
        return DocumentError(_place(where[:-1]), f"lacks {', '.join(map(str, lacks))}")
    if first["type"] in ("too_short", "too_long"):
        bound = "at least" if first["type"] == "too_short" else "at most"
        length = context.get("min_length", context.get("max_length"))
        return DocumentError(_place(where), f"has {context['actual_length']} members; expected {bound} {length:,}")
    if first["type"] == "value_error":  # of a validator of ours, in whole words
        return DocumentError(_place(where), one_line(str(context["error"]), 300))
    expected = context.get("expected") or _KINDS.get(first["type"], first["msg"]).format(**context)
    return DocumentError(_place(where), f"is {shortened(first['input'])}; expected {expected}")


def _place(location: tuple[int | str, ...]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{one_line(part, LONGEST_SHOWN)}" for part in location)
    return "".join(parts).removeprefix(".")


def shortened(value: Any) -> str:
    """A value as JSON has it, in one line of at most `LONGEST_SHOWN` characters."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**20:
        return "a number of too many digits"  # to write it out may take long, or be refused by Python
    try:
        text = one_line(json.dumps(value, ensure_ascii=False), 10 * LONGEST_SHOWN)
    except ValueError:  # numbers of too many digits inside
        return f"a {type(value).__name__} with a number of too many digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
