"""Time and memory of an import: a million rows of a CSV file, some of them bad, in the process that imports."""

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 1_000_000
COLUMNS = 16
#: Every so many rows, one that is refused.
BAD_EVERY = 997
_CHUNK = 10_000
BAR_S = 30.0
BAR_MIB = 300.0


def measure() -> dict[str, Any]:
    """Seconds and peak resident memory of a fresh worker."""
    import threading
    from datetime import timedelta

    from edgeops.data.rules import BadRows, ColumnRule, Kind, Rules
    from fleet_server.ml import frames
    from fleet_server.ml.supervisor import Worker

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source = folder / "rows.csv"
        bad = write(source, seed=7)
        rules = Rules(
            label="state",
            group="machine",
            bad_rows=BadRows.QUARANTINE,
            columns={"c00": ColumnRule(minimum=-100.0, maximum=100.0), "machine": ColumnRule(type=Kind.CATEGORY)},
        )
        task = frames.Import(
            source=str(source),
            file_name=source.name,
            rules=rules,
            destination=str(folder / "snapshot"),
            quarantine=str(folder / "refused"),
        )
        worker = Worker(stop=threading.Event(), folder=folder)
        worker.ensure()
        started = time.monotonic()
        ending = worker.run(task, timeout=timedelta(minutes=10), on_progress=lambda _: None)
        seconds = time.monotonic() - started
        worker.close()
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size_mib = source.stat().st_size / 2**20
    assert isinstance(ending, frames.Imported), ending
    refused = sum(ending.schema.refused.values())
    assert refused == bad, f"{refused} rows were refused, {bad} are bad"
    print(f"{ROWS / seconds:,.0f} rows/s, {refused} quarantined", file=sys.stderr)
    return {
        "name": "import_csv",
        "value": round(seconds, 1),
        "unit": "s",
        "baseline": round(peak_mib, 1),
        "bar": f"<= {BAR_S:.0f} s, <= {BAR_MIB:.0f} MiB",
        "holds": seconds <= BAR_S and peak_mib <= BAR_MIB,
        "inside": (
            f"{ROWS:,} rows x {COLUMNS} numbers, a class and a group from CSV ({size_mib:.0f} MiB) in a fresh process, "
            f"its start included: {ROWS / seconds:,.0f} rows/s, {refused} rows quarantined; baseline: peak resident "
            "memory of that process, MiB"
        ),
    }


def write(path: Path, *, seed: int) -> int:
    """Write the file; how many of its rows are bad."""
    random = np.random.default_rng(seed)
    ways = ("oops", "inf", "1e6", None)
    bad = 0
    with path.open("w") as file:
        file.write(",".join([*(f"c{place:02}" for place in range(COLUMNS)), "state", "machine"]) + "\n")
        for start in range(0, ROWS, _CHUNK):
            numbers = np.char.mod("%.5f", random.normal(size=(_CHUNK, COLUMNS)))
            for place, row in enumerate(numbers.tolist(), start):
                cells = [*row, "abcd"[place % 4], f"m-{place % 20}"]
                if place % BAD_EVERY == 0:
                    way = ways[bad % len(ways)]
                    cells = cells[:-1] if way is None else [way, *cells[1:]]
                    bad += 1
                file.write(",".join(cells) + "\n")
    return bad
