"""`make fuzz`: every parser for so many seconds in a process of its own; first what once broke it.

What is worth going on from stays in `.fuzz/<parser>/corpus`, what broke a parser in `.fuzz/<parser>/broken`; both are
found again by the next run. Ends with a table, and with 1 when something broke.
"""

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.parser import MOST_SECONDS
from tests.fuzz.table import PARSERS

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / ".fuzz"
#: The process may hold this much: the imports take 300 MiB of it.
_MOST_MIB = 1024
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


@dataclass(frozen=True)
class Run:
    """What became of one parser."""

    inputs: int
    covered: int
    #: The last lines that a broken one said.
    broken: str


def main() -> int:
    """Fuzz what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each parser")
    parser.add_argument("--name", action="append", choices=sorted(PARSERS), help="only this one")
    options = parser.parse_args()
    broken = 0
    print(f"{'parser':<24}{'inputs':>10}{'branches':>10}")
    for name in options.name or PARSERS:
        run = _run(name, options.seconds)
        print(f"{name:<24}{run.inputs:>10}{run.covered:>10}{'  BROKEN' if run.broken else ''}", flush=True)
        if run.broken:
            broken += 1
            print(run.broken, flush=True)
    print(f"{broken} broken" + (f"; what broke them is in {_FOLDER}/<parser>/broken" if broken else ""))
    return int(broken > 0)


def _run(name: str, seconds: int) -> Run:
    corpus, seeds, saved = (_FOLDER / name / part for part in ("corpus", "seeds", "broken"))
    for folder in (corpus, seeds, saved):
        folder.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(PARSERS[name].seeds()):
        (seeds / str(place)).write_bytes(seed)
    again = sorted(str(path) for path in saved.iterdir())
    if again:
        code, said = _target(name, *again)
        if code:
            return Run(len(again), 0, _ending(said))
    code, said = _target(
        name,
        f"-max_total_time={seconds}",
        f"-max_len={PARSERS[name].most_bytes}",
        f"-timeout={int(2 * MOST_SECONDS)}",
        f"-rss_limit_mb={_MOST_MIB}",
        "-malloc_limit_mb=-1",
        "-print_final_stats=1",
        f"-artifact_prefix={saved}/",
        str(corpus),
        str(seeds),
    )
    covered = _COVERED.findall(said)
    executed = _EXECUTED.findall(said)
    return Run(int(executed[-1]) if executed else 0, int(covered[-1]) if covered else 0, _ending(said) if code else "")


def _target(name: str, *options: str) -> tuple[int, str]:
    line = (sys.executable, "-m", "tests.fuzz.target", name, *options)
    child = subprocess.run(line, cwd=_ROOT, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return child.returncode, (child.stdout + child.stderr).decode(errors="replace")


def _ending(said: str) -> str:
    """The traceback, without libFuzzer's counting."""
    lines = [line for line in said.splitlines() if not line.startswith(("#", "INFO", "stat::", "NEW_FUNC"))]
    return "\n".join(f"    {line[:300]}" for line in lines[-25:])


if __name__ == "__main__":
    sys.exit(main())
