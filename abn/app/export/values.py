"""The numbers of a result.json as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from abn.common.data import IMAGE_SIZE

LARGEST_NUMBER = 1e30  # far from where float32 overflows, and far above anything a network says


class ExportError(ValueError):
    """An export that cannot be opened or made: one sentence that says what is wrong and what to do."""


@dataclass(frozen=True)
class Array:
    """Metadata of an array field: nested lists of numbers in JSON.

    Attributes:
        shape: the lengths; None where any of at least 1 will do.
        low, high: limits of each number.
        gaps: whether null may stand for a number that is not finite; it becomes NaN.
        whole: whether the numbers are whole, and the array uint8 instead of float32.
    """

    shape: tuple[int | None, ...] = (None,)
    low: float = -LARGEST_NUMBER
    high: float = LARGEST_NUMBER
    gaps: bool = False
    whole: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: CoreSchema
        if self.whole:
            schema = core_schema.int_schema(ge=int(self.low), le=int(self.high))
        else:
            schema = core_schema.float_schema(ge=self.low, le=self.high)
        if self.gaps:
            schema = core_schema.nullable_schema(schema)
        for length in reversed(self.shape):
            # The first wrong number is told; a million of them would fill the memory.
            schema = core_schema.list_schema(schema, min_length=length or 1, max_length=length, fail_fast=True)
        return core_schema.no_info_after_validator_function(self._convert, schema)

    def _convert(self, values: list[Any]) -> np.ndarray:
        try:
            return np.array(values, np.float64).astype(np.uint8 if self.whole else np.float32)
        except ValueError as error:
            raise ValueError("holds lists of different lengths; expected equal ones") from error


Vector = Annotated[np.ndarray, Array()]
VectorWithGaps = Annotated[np.ndarray, Array(gaps=True)]
Factors = Annotated[np.ndarray, Array(low=0, high=2)]
Shares = Annotated[np.ndarray, Array(low=0, high=1)]
Spreads = Annotated[np.ndarray, Array(low=0)]
Percentiles = Annotated[np.ndarray, Array(low=0, high=100, gaps=True)]
Matrix = Annotated[np.ndarray, Array((None, None))]
Pixels = Annotated[np.ndarray, Array((IMAGE_SIZE, IMAGE_SIZE, 3), low=0, high=255, whole=True)]
Maps = Annotated[np.ndarray, Array((None, IMAGE_SIZE, IMAGE_SIZE), gaps=True)]
