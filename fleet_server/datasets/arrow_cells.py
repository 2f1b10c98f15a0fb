"""Columns of Arrow as typed cells: whole columns at once, and cell by cell only where one cannot be read."""

import math
import re
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from edgeops.data.cells import NO_MOMENT, NO_NAME, UTC, Cells
from edgeops.data.moments import parse_moment
from edgeops.data.rules import Kind

#: Texts of a number that is missing, in lower case.
MISSING = ("", "nan", "na", "null", "none")
_MISSING = pa.array(MISSING)
#: What float() reads, without underscores and names.
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NAMED = re.compile("[+-]?(inf|infinity|nan)", re.IGNORECASE)


def cells_of(column: pa.Array, kind: Kind, *, tick: int, zone: str) -> Cells:
    """A column of any type as cells of a kind; see `Batch.cells`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    match kind:
        case Kind.NUMBER:
            return _numbers(column)
        case Kind.CATEGORY:
            return _categories(column)
        case Kind.MOMENT:
            return _moments(column, tick, zone)


def _is_text(column: pa.Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _numbers(column: pa.Array) -> Cells:
    if not _is_text(column):
        try:
            return Cells(values=_floats(column.cast(pa.float64())))
        # A type that has no numbers, or some that are no whole 64-bit floats.
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            column = _texts(column)
    try:
        return Cells(values=_floats(column.cast(pa.float64())))
    except pa.ArrowInvalid:
        texts = pc.utf8_trim_whitespace(column)
    plain = pc.match_substring_regex(texts, _NUMBER)
    values = _floats(pc.if_else(plain, texts, None).cast(pa.float64()))
    odd = pc.invert(pc.or_kleene(plain, pc.is_in(pc.utf8_lower(texts), _MISSING)))
    return _with_odd(values, texts, np.flatnonzero(odd.fill_null(False).to_numpy(zero_copy_only=False)))


def _with_odd(values: NDArray[np.float64], texts: pa.Array, odd: NDArray[np.int64]) -> Cells:
    """What is not finite has a name; what else float() reads, as 1_000 or digits of other scripts, nobody meant so."""
    broken = []
    for place in odd:
        text = texts[int(place)].as_py()
        if _NAMED.fullmatch(text):
            values[place] = float(text)
        else:
            broken.append(place)
    return Cells(values=values, broken=np.array(broken, dtype=np.int64))


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """Writable; null = NaN."""
    return np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _texts(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([None if one is None else str(one) for one in column.to_pylist()], pa.string())


def _categories(column: pa.Array) -> Cells:
    broken = np.empty(0, dtype=np.int64)
    if pa.types.is_floating(column.type):
        # 3.0 is the class 3, as an integer column has it.
        numbers = _floats(column)
        broken = np.flatnonzero(~np.isnan(numbers) & ((numbers != np.round(numbers)) | np.isinf(numbers)))
        numbers[broken] = np.nan
        column = pa.array(numbers, from_pandas=True).cast(pa.int64(), safe=False)
    texts = column if _is_text(column) else _texts(column)
    coded = pc.utf8_trim_whitespace(texts).dictionary_encode()
    names = tuple(coded.dictionary.to_pylist())
    codes = np.array(coded.indices.fill_null(NO_NAME).to_numpy(zero_copy_only=False), dtype=np.int64)
    if "" in names:
        codes[codes == names.index("")] = NO_NAME
    return Cells(values=codes, names=names, broken=broken)


def _moments(column: pa.Array, tick: int, zone: str) -> Cells:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ns"))
    if pa.types.is_timestamp(column.type):
        return Cells(values=_placed(column, zone))
    if not _is_text(column):
        return _counted(_numbers(column), tick)
    for kind in (pa.timestamp("ns", "UTC"), pa.timestamp("ns")):
        try:
            return Cells(values=_placed(column.cast(kind), zone))
        except pa.ArrowInvalid:
            continue
    numbers = _numbers(column)
    counted = _counted(numbers, tick)
    moments, broken = counted.values, set(counted.broken.tolist())
    for place in numbers.broken.tolist():
        with suppress(ValueError):
            moments[place] = parse_moment(column[place].as_py(), ZoneInfo(zone))
            broken.remove(place)
    return Cells(values=moments, broken=np.array(sorted(broken), dtype=np.int64))


def _placed(column: pa.Array, zone: str) -> NDArray[np.int64]:
    """Timestamps since 1970; without an offset they are of `zone`, the first of an hour that comes twice."""
    if column.type.tz is None and zone != UTC:
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
    moments = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    return np.array(moments.fill_null(NO_MOMENT).to_numpy(zero_copy_only=False), dtype=np.int64)


def _counted(numbers: Cells, tick: int) -> Cells:
    """Numbers since 1970; what no 64-bit count of nanoseconds holds cannot be read."""
    held = np.abs(numbers.values) < 2.0**62 / tick
    known = np.where(held, numbers.values, 0.0)
    # Apart, so that a fraction does not cost the last digits of the whole.
    whole = np.floor(known)
    values = whole.astype(np.int64) * tick + np.round((known - whole) * tick).astype(np.int64)
    values[~held] = NO_MOMENT
    beyond = np.flatnonzero(~held & ~np.isnan(numbers.values))
    return Cells(values=values, broken=np.union1d(numbers.broken, beyond))


def plain(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
