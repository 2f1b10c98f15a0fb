"""Keeps one worker: starts it when needed, bounds what it may take, replaces it when it dies.

One task at a time, from one thread. What a task means for the database is not known here.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec

from fleet_server.ml import frames

_READ_BYTES = 1 << 16
#: How long a child may take to say where it is, and characters that are read of that.
_ABORT_S = 5.0
_LAST_WORDS = 1 << 16
#: How soon a stop is noticed while a task runs.
_LOOK_UP_S = 0.2
#: What a signal that ended a child may mean.
_HINTS = {
    "SIGKILL": "; was memory short?",
    "SIGALRM": "; the model did not answer in time, and may never",
    "SIGSEGV": "; a library failed on what it was given: try other layers or variants",
}


class StoppedError(Exception):
    """The task was given up because this process is told to stop; expected, and handled by the caller."""


class Worker:
    """A child process that does tasks; use it from one thread.

    Args:
        stop: set when this process is told to stop.
        folder: where the child's scratch folder is made; None = where the system keeps temporary files.
        memory_bytes: what the child may hold; 0 = no bound.
    """

    #: Of the scratch folder; one that a killed process left behind may be removed.
    FOLDER_PREFIX = "worker-"

    def __init__(self, *, stop: threading.Event, folder: Path | None = None, memory_bytes: int = 0) -> None:
        self._stop = stop
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, None when there is none now."""
        return None if self._process is None else self._process.pid

    def ensure(self) -> int:
        """Start the child if there is none; its process id."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._scratch = tempfile.TemporaryDirectory(prefix=self.FOLDER_PREFIX, dir=self._folder)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fleet_server.ml.worker", str(os.getpid()), str(self._memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # TensorFlow leaves generated code among the temporary files, Keras its settings in the home folder, and
                # so does matplotlib, which Keras imports where it finds it.
                env={**os.environ, **dict.fromkeys(("TMPDIR", "KERAS_HOME", "MPLCONFIGDIR"), self._scratch.name)},
            )
        return self._process.pid

    def warm_up(self) -> None:
        """Let the child import TensorFlow while nothing else is to do; does not wait for it."""
        self.ensure()
        assert self._process is not None and self._process.stdin is not None  # noqa: PT018 - for the type checker
        with suppress(BrokenPipeError):
            frames.write_frame(self._process.stdin, frames.Warm())  # type: ignore[arg-type]  # typeshed: IO[bytes]

    def run(
        self, task: frames.Work, *, timeout: timedelta, on_progress: Callable[[frames.Progress], None]
    ) -> frames.Ending:
        """Do one task. A worker that dies or takes too long ends as `Crashed`, and the next task gets a new one.

        Raises:
            StoppedError: `stop` was set meanwhile; the worker is gone.
        """
        self.ensure()
        assert self._process is not None and self._process.stdin is not None  # noqa: PT018 - for the type checker
        deadline = time.monotonic() + timeout.total_seconds()
        try:
            frames.write_frame(self._process.stdin, task)  # type: ignore[arg-type]  # typeshed: Popen pipes are IO[bytes]
            ending = self._follow(deadline, on_progress)
        except BrokenPipeError:
            ending = self._epitaph()
        except _TookTooLongError:
            reason = f"took longer than {timeout}; use fewer rows, or train for fewer epochs"
            ending = frames.Crashed(reason=reason, last_words=self._abort())
        except (ValueError, msgspec.DecodeError) as error:
            ending = frames.Crashed(reason=f"the child process spoke nonsense: {error}")
        except BaseException:
            self.close()
            raise
        if isinstance(ending, frames.Crashed):
            self.close()
        return ending

    def close(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close_quietly(pipe.close)
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _follow(self, deadline: float, on_progress: Callable[[frames.Progress], None]) -> frames.Ending:
        assert self._process is not None and self._process.stdout is not None  # noqa: PT018 - for the type checker
        descriptor, buffer = self._process.stdout.fileno(), frames.ReportBuffer()
        while True:
            if self._stop.is_set():
                raise StoppedError
            if time.monotonic() > deadline:
                raise _TookTooLongError
            if not select.select([descriptor], [], [], _LOOK_UP_S)[0]:
                continue
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                return self._epitaph()
            for report in buffer.feed(data):
                if not isinstance(report, frames.Progress):
                    return report
                on_progress(report)

    def _epitaph(self) -> frames.Crashed:
        assert self._process is not None
        code = self._process.wait()
        reason = f"the child process ended with code {code}"
        if code < 0:
            name = signal.Signals(-code).name
            reason = f"the child process was ended by {name}{_HINTS.get(name, '')}"
        return frames.Crashed(reason=reason, last_words=self._last_words())

    def _abort(self) -> str:
        """End the child, and let it say where it is; its last words."""
        assert self._process is not None
        self._process.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ABORT_S)
        return self._last_words()

    def _last_words(self) -> str:
        assert self._scratch is not None
        try:
            with (Path(self._scratch.name) / frames.LAST_WORDS_FILE).open(errors="replace") as file:
                return file.read(_LAST_WORDS)
        except FileNotFoundError:
            return ""


class _TookTooLongError(Exception):
    """The deadline passed."""


def _close_quietly(close: Callable[[], None]) -> None:
    """Closing a pipe flushes it, which fails when the other end is gone; nobody is left to read it anyway."""
    try:
        close()
    except BrokenPipeError:
        return
