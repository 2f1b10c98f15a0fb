"""Runs a child that tries an artifact and prints one JSON verdict, within limits of memory and time.

A crash, a hang and silence are answers too: they cost the agent no inference. What is tried is the child's.
"""

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import ParamSpec, TypeVar

import msgspec

from device_agent.child import command
from edgeops import limits

_Verdict = TypeVar("_Verdict", bound=msgspec.Struct)
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """The child ended, or was ended, without one; why, for people."""

    detail: str


def verdict_of(
    module: str, *arguments: str, name: str, kind: type[_Verdict], timeout: timedelta
) -> _Verdict | NoVerdict:
    """What `module` prints, run in a child with PROBE_MEMORY_BYTES of address space; for a worker thread.

    Args:
        module: run as `python -m module arguments`.
        arguments: for it.
        name: what people call the child.
        kind: of the verdict on the last line that it prints.
        timeout: after which it is killed.
    """
    line = command(module, *arguments, memory_bytes=limits.PROBE_MEMORY_BYTES)
    try:
        child = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout.total_seconds(), check=False
        )
    except subprocess.TimeoutExpired:
        return NoVerdict(f"the {name} hung: no verdict in {timeout.total_seconds():.0f} s")
    except OSError as error:
        return _none(f"the {name} did not start: {error}")
    if child.returncode == 0:
        try:
            return msgspec.json.decode(child.stdout.splitlines()[-1], type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, IndexError):
            return NoVerdict(f"the {name} ended without a verdict")
    return _none(f"the {name} {_ending(child.returncode)}: {_last_line(child.stderr)}")


def in_turn(turn: Lock, run: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """`run` while nobody else has the turn: two children at once would take twice the memory and measure each other."""

    def run_in_turn(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        with turn:
            return run(*args, **kwargs)

    return run_in_turn


def _none(detail: str) -> NoVerdict:
    return NoVerdict(detail[: limits.MAX_DETAIL_LENGTH])


def _ending(returncode: int) -> str:
    if returncode < 0:
        return f"was killed by {signal.Signals(-returncode).name}"
    return f"failed with exit code {returncode}"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
