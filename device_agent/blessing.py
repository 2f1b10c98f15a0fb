"""Answers requests for a benchmark: fetches a listed artifact by the way of every update, tries it, installs nothing.

The artifact lies in a folder of its own as long as that takes; what an end of the process leaves there goes with the
next start. Each command is answered once, however often it comes: its name and its record are one transaction of the
spool. What is not answered, because the server is away, an update is under way or the process ended, is asked again.
Measuring is `device_agent.benchmark`'s, what the figures are worth the server's.
"""

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock

from device_agent.benchmark import Measured, run_benchmark
from device_agent.steps import Steps, Surroundings
from device_agent.store.slots import Slots
from edgeops import limits
from edgeops.digest import digest_raw
from edgeops.errors import PlatformError
from edgeops.protocol.messages import (
    Benchmark,
    Benchmarked,
    DesiredDeployment,
    Reason,
    Response,
    UpdateState,
    encode,
)
from edgeops.protocol.topics import UpKind
from edgeops.update.events import Failed, Fetched, FetchFailed, Refused, Staged, Verified
from edgeops.update.update import Update, Wanted

_log = logging.getLogger(__name__)

#: For steps that belong to no deployment: no id is empty, so no source is asked for.
_NO_DEPLOYMENT = ""


class Blessings:
    """One device's answers; `answer` from the main thread, the work in the thread of `surroundings.submit`."""

    def __init__(
        self,
        folder: Path,
        surroundings: Surroundings,
        *,
        is_busy: Callable[[], bool],
        on_change: Callable[[], None],
        run: Callable[[Path], Measured] = run_benchmark,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` is emptied; `is_busy` = an update is under way; `on_change` is called when a record waits."""
        self._folder = folder
        self._around = surroundings
        self._is_busy = is_busy
        self._on_change = on_change
        self._run = run
        self._monotonic = monotonic
        self._lock = Lock()
        self._under_way: str | None = None
        #: Answers that the spool did not take; the server asks again.
        self.failures = 0
        self._clean()

    def answer(self, command: str, request: Benchmark) -> Response:
        """Begin what is asked for; the response says whether an answer will come through the spool."""
        if self._around.spool.knows(_name(command)):
            return Response(command=command, ok=True, detail="answered before")
        if not self._around.has_disk:
            return Response(command=command, ok=False, detail="the disk takes nothing")
        if self._is_busy():
            return Response(command=command, ok=False, detail="an update is under way; ask again")
        with self._lock:
            under_way = self._under_way
            if under_way is None:
                self._under_way = command
        if under_way is None:
            until_s = self._monotonic() + request.within_ms / 1000
            self._around.submit(partial(self._work, command, request, until_s))
            return Response(command=command, ok=True)
        is_same = under_way == command
        return Response(command=command, ok=is_same, detail="" if is_same else f"{under_way} is under way; ask again")

    def _work(self, command: str, request: Benchmark, until_s: float) -> None:
        try:
            measured = self._try(request, until_s)
            if measured is not None:
                self._around.spool.append(
                    UpKind.BENCHMARKS, encode(self._record(command, request, measured)), once=_name(command)
                )
        except PlatformError as error:
            self.failures += 1
            _log.warning("benchmark.delayed", extra={"benchmark": command, "error": error})
        finally:
            self._clean()
            with self._lock:
                self._under_way = None
        self._on_change()

    def _try(self, request: Benchmark, until_s: float) -> Measured | None:
        """What came of it; None = nothing that the server should not ask for again."""

        def cancelled() -> bool:
            self._around.turned()
            return self._monotonic() >= until_s

        update = _update(request)
        try:
            slots = Slots(self._folder)
            steps = Steps(request.deployment or _NO_DEPLOYMENT, self._folder, slots, self._around)
            for step in (partial(steps.fetch, cancelled=cancelled), steps.verify, steps.stage):
                match step(update):
                    case Fetched() | Verified() | Staged():
                        pass
                    case Refused(reason, detail) | Failed(reason, detail):
                        return _not_measured(reason, detail)
                    case FetchFailed(detail):
                        return _not_measured(Reason.FETCH, detail)
                    case _:
                        return None
            return self._run(slots.slot(request.digest).path)
        except OSError as error:
            return _not_measured(Reason.DISK, f"cannot store {request.digest}: {error}")

    def _record(self, command: str, request: Benchmark, measured: Measured) -> Benchmarked:
        facts = self._around.facts()
        return Benchmarked(
            benchmark=command,
            digest=digest_raw(request.digest),
            reason=measured.reason,
            detail=measured.detail,
            arch=facts.arch,
            runtime=facts.runtime,
            runtime_version=facts.runtime_version,
            board=facts.board,
            inferences=measured.inferences,
            latency_p50_us=measured.latency_p50_us,
            latency_p95_us=measured.latency_p95_us,
            latency_p99_us=measured.latency_p99_us,
            disturbed=measured.disturbed,
            memory_bytes=measured.memory_bytes,
            millicelsius_before=measured.millicelsius_before,
            millicelsius_after=measured.millicelsius_after,
            throttled=measured.throttled,
        )

    def _clean(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _not_measured(reason: Reason, detail: str) -> Measured:
    return Measured(reason=reason, detail=detail[: limits.MAX_DETAIL_LENGTH])


def _name(command: str) -> str:
    return f"command {command}"


def _update(request: Benchmark) -> Update:
    """As if it were to be installed."""
    desired = DesiredDeployment(
        deployment=request.deployment or _NO_DEPLOYMENT, target=request.target, digest=request.digest
    )
    return Update(state=UpdateState.FETCHING, wanted=Wanted.of(desired, epoch=0, revision=0))
