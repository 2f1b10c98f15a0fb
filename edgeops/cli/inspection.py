"""The words for a file that was inspected: rules that can be saved as they are, below a comment for each column."""

from collections.abc import Iterator, Mapping
from itertools import islice

from edgeops.cli.output import printable
from edgeops.data.distinct import MOST
from edgeops.data.folder_inspection import FolderFound
from edgeops.data.inspection import ColumnFound, Inspection, Suspicion

_SHOWN = 20
_WORDS = {
    Suspicion.EMPTY: "has no value",
    Suspicion.CONSTANT: "always the same",
    Suspicion.ID: "looks like an id",
    Suspicion.LABEL: "looks like a label",
    Suspicion.TIME: "looks like a time",
}


def commented_rules(found: Inspection, *, file_name: str) -> str:
    """TOML that `edgeops dataset import --rules` takes."""
    return "\n".join([*(f"# {_in_line(line)}" for line in _told(found, file_name)), "", found.rules])


def _told(found: Inspection, file_name: str) -> Iterator[str]:
    if found.folder is not None:
        yield from _told_of_folder(found, found.folder, file_name)
        return
    malformed = f", and {found.malformed} malformed" if found.malformed else ""
    yield f"{file_name}: {found.rows} rows{malformed}"
    for one in found.columns:
        yield f"{one.column}: {', '.join(_facts(one))}"
    for name in found.apart:
        yield f"{name}: left out, no rows beside the others"
    if not any(Suspicion.LABEL in one.suspicions for one in found.columns):
        yield "nothing looks like a label; to learn one, set task and label"


def _told_of_folder(found: Inspection, folder: FolderFound, file_name: str) -> Iterator[str]:
    refused = f", and {found.malformed} that would be refused" if found.malformed else ""
    yield f"{file_name}: {found.rows} {folder.kind}s{refused}"
    if len(folder.classes) > 1:
        yield f"class: {len(folder.classes)} different: {_counted(folder.classes)}"
    else:
        yield "no two classes: put the files of each into a folder of its own, or name them by a pattern"
    if folder.unclassed and folder.classes:
        yield f"{folder.unclassed} lie beside the folders of the classes, and would be refused"
    if folder.groups:
        yield f"group: {folder.groups} different"
    if folder.sizes:
        coloured = f"; {folder.coloured} in colour" if folder.coloured else ""
        yield f"size: {_counted(folder.sizes)}{coloured}"
    if folder.seconds is not None:
        shortest, middle, longest = (f"{one:.4g}" for one in folder.seconds)
        yield f"Hz: {_counted(folder.rates)}"
        yield f"seconds: {shortest} to {longest}, half of them up to {middle}"
    for one in folder.refused:
        yield f"{one.path}: {one.why}"
    if found.malformed > len(folder.refused):
        yield f"and {found.malformed - len(folder.refused)} more that would be refused"
    yield from folder.hindrances


def _counted(counts: Mapping[str, int]) -> str:
    """What there is, and how many of each; not all where there are many."""
    told = [f"{name} ({count})" for name, count in islice(counts.items(), _SHOWN)]
    return ", ".join(told) + (" ..." if len(counts) > _SHOWN else "")


def _facts(one: ColumnFound) -> Iterator[str]:
    yield one.type
    if one.missing:
        yield f"{one.missing} missing"
    yield f"{one.distinct} or more different" if one.distinct >= MOST else f"{one.distinct} different"
    if one.minimum is not None:
        yield f"{_number(one.minimum)} to {_number(one.maximum)}"
    if one.example:
        yield f"{one.odd} not a {one.type}: {one.example.value!r} in {one.example.line}"
    for suspicion in one.suspicions:
        yield _WORDS[suspicion] + (f" in {one.unit}" if one.unit else "")


def _number(value: float | str | None) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def _in_line(text: str) -> str:
    """Nothing that ends a comment."""
    return printable(text).replace("\n", "\\n")
