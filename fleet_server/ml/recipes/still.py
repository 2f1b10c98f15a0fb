"""Columns that never change, of which nobody can tell what is far from normal."""

from edgeops.data.schema import Schema
from edgeops.errors import ConfigError


def refuse_still(schema: Schema) -> None:
    """Refuse a dataset with a column that does not change.

    Raises:
        ConfigError: names the first one.
    """
    for column, one in zip(schema.columns, schema.statistics, strict=True):
        if one.minimum == one.maximum:
            raise ConfigError(
                f"column {column!r} is {one.minimum:g} in every training row, so there is no telling what is far from "
                "it; leave it out with exclude when importing"
            )
