"""What goes to standard output: data, as JSON or as tables for people. Progress is not its business."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edgeops.api.shapes import Answer
from edgeops.digest import write_atomically
from edgeops.errors import InputError

#: Columns of a table that is not shown on a terminal: nothing is cut off.
_WIDE = 1_000
_SHOWN_NAMES = 8


def print_json(document: Any) -> None:
    """One JSON document, indented."""
    print(json.dumps(_plain(document), indent=2, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """One document of a stream (NDJSON), written at once."""
    print(json.dumps(_plain(document), ensure_ascii=False, separators=(",", ":")), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "none") -> None:
    """A table for people; columns whose name ends in `>` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.removesuffix(">"), justify="right" if right else "left", no_wrap=not right)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _print(table if table.row_count else Text(empty, style="dim"))


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values of one thing, one a line; None is left out."""
    table = Table(box=None, pad_edge=False, show_header=False, show_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(name, _cell(value))
    _print(table)


def turned(before: object, after: object) -> str:
    """What a value was and what it is, for people."""
    return f"{_in_words(before)} -> {_in_words(after)}"


def _in_words(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_in_words, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items()) or "-"
    return str(value)


def write_file(file: Path, data: bytes) -> None:
    """Write what a person asked for.

    Raises:
        InputError: the place cannot be written.
    """
    try:
        write_atomically(file, data)
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def abridged(names: Sequence[str]) -> str | None:
    """How many names there are, and the first of them; None when there are none."""
    if not names:
        return None
    shown = names if len(names) <= _SHOWN_NAMES else (*names[: _SHOWN_NAMES - 1], "...", names[-1])
    return f"{len(names)}: {', '.join(shown)}"


def short_digest(digest: str | None) -> str | None:
    """Enough of a digest to tell it from others."""
    return None if digest is None else digest[: len("sha256:") + 12]


def printable(text: str) -> str:
    """Text from devices must not command the terminal: control characters are shown, not sent."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def _print(content: RenderableType) -> None:
    """Write what rich made of it, without the blanks that fill up its columns."""
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    with console.capture() as capture:
        console.print(content)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def _cell(value: object) -> Text:
    match value:
        case None:
            return Text("-", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float():
            return Text(f"{value:.4g}")
        case datetime():
            return Text(_local(value).strftime("%Y-%m-%d %H:%M:%S"))
        case _:
            return Text(printable(str(value)))


def _local(moment: datetime) -> datetime:
    """As the clock here shows it; as it was told where the calendar ends before that."""
    try:
        return moment.astimezone()
    except OverflowError:
        return moment


def _plain(document: Any) -> Any:
    match document:
        case Answer():
            return document.model_dump(mode="json")
        case Mapping():
            return {key: _plain(value) for key, value in document.items()}
        case str():
            return document
        case Iterable():
            return [_plain(item) for item in document]
        case _:
            return document
