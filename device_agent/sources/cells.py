"""What one line of a file or stream holds: columns by name, numbers, a moment, and the id of an input.

Pure. A cell that nobody asked for is never looked at, a label above all. `where` names the place for people.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path

from edgeops.artifact.manifest import TimeColumn
from edgeops.data.cells import NO_MOMENT
from edgeops.data.moments import count_moment, parse_moment
from edgeops.errors import DatasetError
from edgeops.limits import MAX_INPUT_ID_LENGTH

#: The column that names an input, unless the model reads it.
ID = "id"
_MISSING = float("nan")


def positions(where: str, names: Collection[str], columns: Sequence[str]) -> list[int]:
    """Where each of `columns` is among `names`.

    Raises:
        DatasetError: some are missing.
    """
    places = {name: at for at, name in enumerate(names)}
    missing = [name for name in columns if name not in places]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise DatasetError(
            f"{where} lacks {', '.join(missing[:5])}{more}; the model takes {len(columns)} columns by name"
        )
    return [places[name] for name in columns]


def number(value: object, source: Path | str, line: int, column: str) -> float:
    """A cell as a number; empty or null is missing, NaN.

    Raises:
        DatasetError: it is something else.
    """
    if value is None or value == "":
        return _MISSING
    if isinstance(value, (str, int, float)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise DatasetError(f"{source}, line {line}, column {column}: {value!r} is not a number")


def moment(value: object, time: TimeColumn, zone: tzinfo, where: str) -> int:
    """A cell as nanoseconds since 1970, as an import reads it; empty or null is NO_MOMENT. `zone` is that of `time`.

    Raises:
        DatasetError: it is something else.
    """
    try:
        return _moment(value, time, zone)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{where}, column {time.name}: {value!r} is no moment (ISO 8601, or a number since 1970)"
        ) from error


def json_object(where: str, text: str | bytes) -> Mapping[str, object]:
    """One JSON object.

    Raises:
        DatasetError: it is something else.
    """
    try:
        item = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{where}: not JSON: {error}") from error
    if not isinstance(item, dict):
        raise DatasetError(f"{where}: expected an object with the columns by name")
    return item


def checked_id(value: str, where: str) -> str:
    """An input's id.

    Raises:
        DatasetError: it is empty or too long.
    """
    if not 0 < len(value) <= MAX_INPUT_ID_LENGTH:
        raise DatasetError(f"{where}: the id {value[:80]!r} has not 1 to {MAX_INPUT_ID_LENGTH} characters")
    return value


def _moment(value: object, time: TimeColumn, zone: tzinfo) -> int:
    if value is None or value == "":
        return NO_MOMENT
    if not isinstance(value, (str, int, float)):
        raise TypeError(value)
    try:
        number = float(value)
    except ValueError:
        return parse_moment(str(value), zone)
    counted = count_moment(number, time.tick_ns)
    return NO_MOMENT if counted is None else counted
