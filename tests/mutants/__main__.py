"""`make mutants`: small faults in what decides, and whether the unit tests of their room notice.

Fails when fewer than 90 of 100 are noticed in a room, when a survivor has no reason in `survivors.toml`, when a reason
has no survivor, and when all rooms took more than an hour. A run that is broken off goes on where it was.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutation import mutants_of
from tests.mutants.running import ROOT, Traced, import_all_but_ours, judge, trace
from tests.mutants.verdicts import SURVIVORS, Memory, digest_of, reasons

#: Room -> patterns of its own tests.
ROOMS = {
    "update": ("unit/test_update_*.py", "property/test_update_*.py"),
    "trust": ("unit/test_trust_*.py",),
    "sketch": ("unit/test_sketch_*.py", "property/test_sketch_*.py"),
    "drift": ("unit/test_drift_*.py", "property/test_drift_*.py"),
    "rollout": ("unit/test_rollout_*.py",),
}
BAR = 0.9
MOST_SECONDS = 3_600.0
_FOLDER = ROOT / ".mutants"


@dataclass
class Score:
    """What became of a room's mutants."""

    room: str
    killed: int
    survivors: list[str]
    seconds: float

    @property
    def share(self) -> float:
        """Of its mutants, those that were noticed."""
        return self.killed / max(1, self.killed + len(self.survivors))


def main() -> int:
    """Judge what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--room", action="append", choices=tuple(ROOMS), help="only this one")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--match", default="", help="only mutants with this in their id; no verdict about the whole")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    options = parser.parse_args()
    if options.fresh:
        for file in _FOLDER.glob("*.json*"):
            file.unlink()
    import_all_but_ours()
    scores = [_judge_room(room, jobs=options.jobs, match=options.match) for room in options.room or ROOMS]
    print(f"\n{'room':<10}{'mutants':>9}{'killed':>8}{'share':>8}{'s':>7}")
    for score in scores:
        mutants = score.killed + len(score.survivors)
        print(f"{score.room:<10}{mutants:>9}{score.killed:>8}{score.share:>8.1%}{score.seconds:>7.0f}")
    print(f"{sum(score.seconds for score in scores) / 60:.0f} minutes")
    return 0 if options.match else _verdict(scores)


def _judge_room(room: str, *, jobs: int, match: str) -> Score:
    sources = {file: _module(file) for file in sorted((ROOT / "edgeops" / room).rglob("*.py"))}
    files = [file for pattern in ROOMS[room] for file in sorted((ROOT / "tests").glob(pattern))]
    started = time.monotonic()
    today = digest_of([*files, *sources])
    memory = Memory(_FOLDER / f"{room}.jsonl")
    digests = {module: digest_of([file]) for file, module in sources.items()}
    mutants = [
        mutant
        for file, module in sources.items()
        for mutant in mutants_of(module, file.read_text(encoding="utf-8"))
        if match in mutant.id
    ]
    verdicts = {mutant.id: memory.recall(mutant.id, module=digests[mutant.module], room=today) for mutant in mutants}
    left = [mutant for mutant in mutants if verdicts[mutant.id] is None]
    print(f"{room}: {len(mutants)} mutants, {len(mutants) - len(left)} known from earlier runs", flush=True)
    if left:
        names = [str(file.relative_to(ROOT)) for file in files]
        traced = _traced(_FOLDER / f"{room}-tests.json", today, names, sources)
        print(f"{room}: {len(traced.tests)} tests of {sum(one.seconds for one in traced.tests):.0f} s", flush=True)
        for mutant, verdict in judge(left, traced, noticed=memory.killers(), files=names, jobs=jobs):
            memory.remember(mutant.id, verdict, module=digests[mutant.module], room=today)
            verdicts[mutant.id] = verdict
            if verdict.killer is None:
                print(f"  survived: {mutant.id}", flush=True)
    survivors = [name for name, verdict in verdicts.items() if verdict is not None and verdict.killer is None]
    return Score(room, len(mutants) - len(survivors), survivors, time.monotonic() - started)


def _traced(path: Path, today: str, files: Sequence[str], sources: Mapping[Path, str]) -> Traced:
    """Which lines each test runs: traced once for as long as no test and no module changes."""
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["of"] == today:
            return Traced.of(known)
    found = trace(files, {str(file): module for file, module in sources.items()})
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"of": today, **found}), encoding="utf-8")
    return Traced.of(found)


def _verdict(scores: Sequence[Score]) -> int:
    known = reasons()
    survivors = {name for score in scores for name in score.survivors}
    rooms = tuple(f"edgeops.{score.room}." for score in scores)
    without = sorted(survivors - set(known))
    stale = sorted(name for name in set(known) - survivors if name.startswith(rooms))
    for name in without:
        print(f"survives without a reason: {name}")
    for name in stale:
        print(f"has a reason and does not survive: {name}")
    low = [score for score in scores if score.share < BAR]
    for score in low:
        print(f"{score.room}: {score.share:.1%} of its mutants are killed, {BAR:.0%} are asked for")
    late = sum(score.seconds for score in scores) > MOST_SECONDS
    if late:
        print(f"it took more than {MOST_SECONDS / 60:.0f} minutes")
    if without or stale:
        print(f"reasons stand in {SURVIVORS.relative_to(ROOT)}")
    return int(bool(low or without or stale or late))


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


if __name__ == "__main__":
    sys.exit(main())
