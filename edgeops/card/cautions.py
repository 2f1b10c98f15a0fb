"""What a model cannot do, in plain words."""

from collections.abc import Iterator

from edgeops.artifact.manifest import Manifest, MissingPolicy, Task
from edgeops.data.schema import Schema

#: A class of fewer rows, or an evaluation set of fewer, is warned of: one row in it is more than one in a hundred.
FEW_ROWS = 100
_NAMED = 5


def cautions(manifest: Manifest, schema: Schema) -> tuple[str, ...]:
    """One sentence for each; what stands in them follows from the snapshot and a file of the model alone."""
    return (*_unknown(manifest, schema), *_little(schema), _missing(manifest))


def _unknown(manifest: Manifest, schema: Schema) -> Iterator[str]:
    if manifest.lineage.brought is not None:
        yield "It was brought as a file: what it learnt from is not known, so figures may be too good."
    match schema.task:
        case Task.CLASSIFICATION:
            yield "It knows only its classes; anything else is answered with one of them."
        case Task.REGRESSION:
            bounds = manifest.output.bounds
            reach = "" if bounds is None else f", and it never answers beyond {bounds[0]:g} to {bounds[1]:g}"
            yield f"It knows only values of {schema.label} like those it learnt; any other answer is a guess{reach}."
        case Task.ANOMALY:
            yield "It knows only what was normal in its rows; what is new is an alarm, harmless or not."
    if len(schema.shape) == 1:
        yield "Readings outside the ranges of the rows it learnt from are unknown to it; it answers them all the same."


def _little(schema: Schema) -> Iterator[str]:
    few = sorted((rows, name) for name, rows in zip(schema.classes, schema.class_rows, strict=True) if rows < FEW_ROWS)
    if few:
        named = ", ".join(f"{name} ({rows})" for rows, name in few[:_NAMED])
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        yield f"Classes of few rows are told apart least surely: {named}{more}."
    judging = schema.split_rows[-1]
    if judging < FEW_ROWS:
        yield f"Only {judging} rows judged it, so its figures may be off by much."


def _missing(manifest: Manifest) -> str:
    if manifest.missing is MissingPolicy.REFUSE:
        return "Rows with missing values are refused."
    return "Missing values are read as the mean of the training rows."
