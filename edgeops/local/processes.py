"""Child processes that are ready when they say so and never outlive their parent.

Starts a program with its output in a log file, waits until it is ready, and stops groups of programs
in order. A child ends when its parent is gone (`edgeops.parent`), also after `kill -9` of the parent. It does
not restart anything and does not know what the programs do.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeops.errors import PlatformError
from edgeops.parent import end_with

#: How long a child may take to end by itself before it is killed.
STOP_TIMEOUT_S = 8.0
#: Lines of a log that an error shows.
TAIL_LINES = 12

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Child:
    """A running (or ended) program and where its output lies."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    #: Another file where the program tells what goes wrong.
    own_log: Path | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self.process.poll() is None

    def release(self) -> None:
        """End the standard input of a child that was started held."""
        if self.process.stdin is not None:
            self.process.stdin.close()


def python(module: str, *arguments: str | Path) -> list[str]:
    """The command that runs one of our modules with this interpreter."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def start(
    name: str,
    command: Sequence[str],
    *,
    logs: Path,
    own_log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    held: bool = False,
) -> Child:
    """Start a program whose standard output and error go to `<logs>/<name>.log`.

    The log of the run before is kept as `<name>.previous.log`. The program gets a session of its own, so
    that a Ctrl-C at the terminal reaches only the parent, which then stops its children in order.
    `own_log` is a file that the program writes by itself; errors show its end too. The standard input of a `held`
    child ends with `release`, else it is empty.

    Raises:
        PlatformError: the program cannot be started.
    """
    # A child ends with the THREAD that forked it; only the main thread lives as long as the process.
    assert threading.current_thread() is threading.main_thread()
    log = logs / f"{name}.log"
    parent = os.getpid()
    try:
        logs.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(logs / f"{name}.previous.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if held else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # PYTHONSAFEPATH: a file in the caller's folder never shadows a module of ours.
                env={**os.environ, "PYTHONSAFEPATH": "1", **(environment or {})},
                start_new_session=True,
                preexec_fn=lambda: end_with(parent),  # noqa: PLW1509 - bare system calls; the only way before exec
            )
    except OSError as error:
        raise PlatformError(f"cannot start {name} ({command[0]}): {error}") from error
    return Child(name, log, process, own_log)


def wait_until_ready(
    child: Child, ready: Callable[[], bool], *, timeout_s: float, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Return when `ready()` is true; `meanwhile` is called at each look and raises when waiting has no point.

    Raises:
        PlatformError: the program ended, or was not ready in time; the message ends with its last lines.
    """
    deadline = time.monotonic() + timeout_s
    while not ready():
        meanwhile()
        require_running(child)
        if time.monotonic() > deadline:
            raise PlatformError(f"{child.name} was not ready within {timeout_s:g} s{_last_words(child)}")
        time.sleep(_POLL_S)


def require_running(child: Child) -> None:
    """Pass while the program runs.

    Raises:
        PlatformError: it ended; the message ends with its last lines.
    """
    if not child.running:
        raise PlatformError(describe_end(child))


def wait_until_done(child: Child, *, timeout_s: float, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Return when the program has ended well; `meanwhile` as for `wait_until_ready`.

    Raises:
        PlatformError: it ended with another exit code than 0, or not in time (it is killed then).
    """
    deadline = time.monotonic() + timeout_s
    while child.running:
        meanwhile()
        if time.monotonic() > deadline:
            child.process.kill()
            child.process.wait()
            raise PlatformError(f"{child.name} did not end within {timeout_s:g} s{_last_words(child)}")
        time.sleep(_POLL_S)
    if child.process.returncode != 0:
        raise PlatformError(describe_end(child))


def stop(children: Collection[Child], *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End programs side by side: SIGTERM, and SIGKILL for those that did not follow in time."""
    running = [child for child in children if child.running]
    for child in running:
        child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    for child in running:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
    for child in children:
        child.release()


def how_it_ended(child: Child) -> str:
    """In one line, which program ended and how."""
    code = child.process.returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{child.name} (pid {child.pid}) {how}"


def describe_end(child: Child) -> str:
    """How a program that ended did so, and its last lines."""
    return f"{how_it_ended(child)}{_last_words(child)}"


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log that say something."""
    try:
        text = log.read_bytes()[-16_384:].decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _last_words(child: Child) -> str:
    logs = [log for log in (child.log, child.own_log) if log is not None and tail(log)]
    if not logs:
        return f"; it wrote nothing to {child.log}"
    quotes = ["\n".join((f"last lines of {log}:", *(f"  | {line}" for line in tail(log)))) for log in logs]
    return "; " + "\n".join(quotes)
