"""What is known of mutants from earlier runs, and why the survivors may live.

A verdict is kept while its module is as it was and, of a killed mutant, the test that killed it; a survivor is tried
again as soon as any test file of its room has changed. `survivors.toml` beside this file has a reason for every
survivor and nothing else.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.running import ROOT, Verdict

SURVIVORS = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True)
class Known:
    """A verdict and what it rests on."""

    killer: str | None
    seconds: float
    module: str
    tests: str


class Memory:
    """Verdicts by mutant, in one file that a run adds to line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Known] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                item = json.loads(line)
                mutant = item.pop("id")
                self._known[mutant] = Known(**item)

    def recall(self, mutant: str, *, module: str, room: str) -> Verdict | None:
        """The verdict, if it still holds; `module` and `room` are digests of today's module and test files."""
        known = self._known.get(mutant)
        if known is None or known.module != module or known.tests != _resting_on(known.killer, room):
            return None
        return Verdict(known.killer, known.seconds)

    def killers(self) -> dict[str, str]:
        """Mutant -> the test that noticed it when it was tried last, whatever has changed since."""
        return {mutant: known.killer for mutant, known in self._known.items() if known.killer}

    def remember(self, mutant: str, verdict: Verdict, *, module: str, room: str) -> None:
        """Write it down at once, so that a run may be broken off."""
        known = Known(verdict.killer, verdict.seconds, module, _resting_on(verdict.killer, room))
        self._known[mutant] = known
        self._path.parent.mkdir(exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"id": mutant, **asdict(known)}) + "\n")


def digest_of(files: Iterable[Path]) -> str:
    """One name for the content of these files."""
    state = hashlib.sha256()
    for file in sorted(files):
        state.update(file.read_bytes())
    return state.hexdigest()[:16]


def reasons() -> dict[str, str]:
    """Survivor -> why it may live."""
    if not SURVIVORS.exists():
        return {}
    listed = tomllib.loads(SURVIVORS.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for one in listed["survivors"]:
        if not one["reason"].strip():
            raise ValueError(f"{SURVIVORS}: a reason is empty, before {one['mutants'][:1]}")
        for mutant in one["mutants"]:
            if mutant in found:
                raise ValueError(f"{SURVIVORS}: {mutant!r} stands there twice")
            found[mutant] = one["reason"]
    return found


def _resting_on(killer: str | None, room: str) -> str:
    file = ROOT / (killer or "").partition("::")[0]
    return digest_of([file]) if killer and file.is_file() else room
