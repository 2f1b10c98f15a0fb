"""Which rows of a file are wanted: filters such as `batch=1,2`."""

from dataclasses import dataclass

from edgeops.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Condition:
    """`column` has one of `values`."""

    column: str
    values: tuple[str, ...]

    def accepts(self, text: str) -> bool:
        """Whether a value passes: equal as text, or equal as a number (`1` and `1.0`)."""
        return text in self.values or any(_equal_numbers(text, value) for value in self.values)


def parse_conditions(texts: tuple[str, ...]) -> tuple[Condition, ...]:
    """Read filters such as `batch=1,2`; a row must pass all of them.

    Raises:
        DatasetError: not `column=value[,value...]`.
    """
    return tuple(_parse_condition(text) for text in texts)


def _parse_condition(text: str) -> Condition:
    column, equals, values = text.partition("=")
    chosen = tuple(value.strip() for value in values.split(","))
    if not equals or not column.strip() or not all(chosen):
        raise DatasetError(f"the filter {text!r} is not understood; write column=value or column=value,value")
    return Condition(column.strip(), chosen)


def _equal_numbers(left: str, right: str) -> bool:
    try:
        return float(left) == float(right)
    except ValueError:
        return False
