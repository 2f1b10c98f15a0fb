"""Runs the benchmark rows: `python -m bench [--name ROW]`.

A row is a module of this package with `measure() -> dict`: `name`, `value`, `unit`, `baseline` (the other side of the
same run, or None), `bar` (text), `holds`, `inside` (text: what is inside both sides). The harness adds `machine`,
writes bench/results.json (a single row replaces its earlier result), prints a table, and exits 1 when a bar does not
hold.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bench

RESULTS = Path(__file__).parent / "results.json"
_FIELDS = ("name", "value", "unit", "baseline", "bar", "holds", "machine", "inside")

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, print; 0 when every bar holds, 1 when one does not, 2 for an unknown row."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what good means.")
    parser.add_argument("--name", action="append", metavar="ROW", help="only this row (may be repeated)")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    chosen = parser.parse_args(arguments)
    rows = row_names()
    if chosen.list:
        print("\n".join(rows))
        return 0
    if unknown := sorted(set(chosen.name or ()) - set(rows)):
        print(f"no row {', '.join(unknown)}; there are: {', '.join(rows)}", file=sys.stderr)
        return 2
    measured = [_measure(name) for name in chosen.name or rows]
    kept = (
        [] if not chosen.name else [row for row in _earlier() if row["name"] not in {new["name"] for new in measured}]
    )
    everything = sorted([*kept, *measured], key=lambda row: row["name"])
    RESULTS.write_text(json.dumps(everything, indent=2) + "\n")
    print(table(measured))
    return 0 if all(row["holds"] for row in measured) else 1


def row_names() -> list[str]:
    """The modules of this package that measure something."""
    return sorted(found.name for found in pkgutil.iter_modules(bench.__path__) if not found.name.startswith("_"))


def table(rows: Iterable[Row]) -> str:
    """The rows for people."""
    head = ("row", "value", "baseline", "bar", "")
    lines = [
        (
            row["name"],
            f"{_figure(row['value'])} {row['unit']}",
            "-" if row["baseline"] is None else f"{_figure(row['baseline'])}",
            row["bar"],
            "holds" if row["holds"] else "MISSED",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    )


def _measure(name: str) -> Row:
    print(f"{name} ...", file=sys.stderr, end=" ", flush=True)
    start = time.monotonic()
    row: Row = {"machine": machine(), **importlib.import_module(f"bench.{name}").measure()}
    print(f"{time.monotonic() - start:.1f} s", file=sys.stderr)
    if missing := [field for field in _FIELDS if field not in row]:
        raise TypeError(f"bench.{name} measures without {', '.join(missing)}")
    return {field: row[field] for field in _FIELDS}


def machine() -> str:
    """What the figures were measured on."""
    return (
        f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or "unknown processor"


def _earlier() -> list[Row]:
    try:
        rows: list[Row] = json.loads(RESULTS.read_text())
    except (OSError, ValueError):
        return []
    return rows


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    sys.exit(main())
