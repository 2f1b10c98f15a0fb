"""Runs the tests that can notice a mutant, each mutant in a forked child that has imported all but our own code.

The child finds the mutated source in place of the file, and stops at the first test that fails. Which tests can notice
is known from one run that traces the lines of a room test by test; what acts at import is put before all tests of
the room, those of the file that runs most of its module first. hypothesis repeats itself and does not shrink.
"""

import contextlib
import gc
import importlib.abc
import importlib.util
import inspect
import io
import json
import math
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, Self, TextIO

import pytest

from tests.mutants.mutation import Mutant, mutated

ROOT = Path(__file__).parents[2]
_MEMORY = Path("/dev/shm")
_MOST_BYTES = 4 * 2**30
_OPTIONS = (
    "-q", "-x", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:faulthandler",
    "-p", "_hypothesis_pytestplugin", "-p", "pytest_timeout", "--hypothesis-profile", "mutants",
)  # fmt: skip
_OURS = ("edgeops.", "device_agent.", "fleet_server.", "tests.")
_MUTANTS = "tests.mutants"
#: The tests of a room without a mutant, traced.
_BASELINE_S = 1800.0
#: A mutant is late after so much CPU, and so many times what its tests take.
_SETTLE_S = 5.0
_TIMES_LONGER = 3.0
_WAITS = 8.0
#: What is not noticed by the quickest tests of so many traced seconds together survives.
_MOST_S = 20.0
_TURN_S = 0.5


@dataclass(frozen=True)
class Test:
    """What one test did when nothing was wrong."""

    name: str
    #: Of CPU, traced.
    seconds: float
    #: Module -> lines of it that ran.
    lines: dict[str, frozenset[int]]

    @property
    def file(self) -> str:
        """The file that it is in."""
        return self.name.partition("::")[0]


@dataclass(frozen=True)
class Traced:
    """What ran when nothing was wrong."""

    tests: list[Test]
    #: Module -> lines of it that ran before the first test: when it was imported, and when tests were collected.
    before: dict[str, frozenset[int]]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From what a file or a pipe holds of it."""
        tests = [Test(name, seconds, _by_module(lines)) for name, seconds, lines in plain["tests"]]
        return cls(tests, _by_module(plain["before"]))


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    #: The test that failed; `time` = too slow, `import` = no test could begin; None = it survived.
    killer: str | None
    seconds: float


def import_all_but_ours() -> None:
    """What every child would import again, once."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if _MEMORY.is_dir():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)  # where nothing waits for a disk
    import hypothesis.extra.numpy
    import hypothesis.stateful

    hypothesis.settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False,
    )
    # Its own plugins it imports when it first runs.
    with contextlib.redirect_stdout(io.StringIO()):
        _pytest(["--collect-only", str(Path(__file__).with_name("__init__.py"))], object())
    # The conftest came with it and with that some of ours, of which children would not find the mutated source.
    for name in [name for name in sys.modules if name.startswith(_OURS) and not name.startswith(_MUTANTS)]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()


def trace(files: Sequence[str], modules: dict[str, str]) -> dict[str, Any]:
    """Run the tests of a room, traced; `modules` are its modules by file. Returns what `Traced.of` takes.

    Raises:
        RuntimeError: a test fails without any mutant.
    """

    def run() -> Any:
        tracing = _Tracing(modules)
        code = _pytest([*files], tracing)
        return {"code": code, "failed": tracing.failed, "tests": tracing.tests, "before": tracing.before}

    child = _Child(run, cpu_s=_BASELINE_S)
    while not child.ended():
        child.wait()
    answer = child.answer
    if answer is None or answer["code"] != 0:
        raise RuntimeError(f"the tests fail without a mutant: {answer and answer['failed']}")
    return {"tests": answer["tests"], "before": answer["before"]}


def judge(
    mutants: Sequence[Mutant], traced: Traced, *, noticed: Mapping[str, str], files: Sequence[str], jobs: int
) -> Iterator[tuple[Mutant, Verdict]]:
    """Let the tests that can notice try each, so many mutants at a time.

    First that which noticed it in an earlier run, then the quickest.

    A fault in a function is first put into a fork of a process that has collected the tests, which takes a tenth of the
    time. What acts at import is tried where everything of ours is imported anew; so is what was not noticed and lies in
    lines that had run before the first test, whose fruits the fork still has.
    """
    left = [mutant for mutant in mutants if mutant.lines is None]
    swapped = [mutant for mutant in mutants if mutant.lines is not None]
    choice = _Choice(traced.tests, noticed)
    for mutant, verdict in _in_collected(swapped, choice, files=files, jobs=jobs):
        if verdict is None or (verdict.killer is None and _ran(traced.before, mutant)):
            left.append(mutant)
        else:
            yield mutant, verdict
    yield from _scheduled(left, choice, _imported_anew, jobs=jobs)


@dataclass(frozen=True)
class _Choice:
    """Which tests try a mutant, in which order."""

    tests: Sequence[Test]
    #: Mutant -> the test that noticed it in an earlier run.
    noticed: Mapping[str, str]

    def of(self, mutant: Mutant) -> list[Test]:
        """The quickest first; of what acts at import, first those in the file that runs most of the module."""
        known, file = self.noticed.get(mutant.id), self._file_of(mutant) if mutant.lines is None else ""
        ordered = sorted(
            (test for test in self.tests if _can_notice(test, mutant)),
            key=lambda test: (
                test.name != known,
                test.file != file,
                mutant.module not in test.lines,
                test.seconds,
            ),
        )
        spent = list(accumulate(test.seconds for test in ordered))
        return [test for test, seconds in zip(ordered, spent, strict=True) if seconds <= _MOST_S] or ordered[:1]

    def _file_of(self, mutant: Mutant) -> str:
        lines: dict[str, set[int]] = {}
        for test in self.tests:
            lines.setdefault(test.file, set()).update(test.lines.get(mutant.module, ()))
        return max(lines, key=lambda file: len(lines[file]))


_Work = Callable[[Mutant, Sequence[Test]], Callable[[], Any]]


def _scheduled(
    mutants: Sequence[Mutant], choice: _Choice, work: _Work, *, jobs: int
) -> Iterator[tuple[Mutant, Verdict]]:
    waiting = list(reversed(mutants))
    running: dict[_Child, Mutant] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            chosen = choice.of(mutant)
            if chosen:
                most_s = _SETTLE_S + _TIMES_LONGER * sum(test.seconds for test in chosen)
                running[_Child(work(mutant, chosen), cpu_s=most_s)] = mutant
            else:
                yield mutant, Verdict(None, 0.0)
        select.select(running, [], [], _TURN_S)
        for child in [child for child in running if child.ended()]:
            yield running.pop(child), _verdict(child)


def _in_collected(
    mutants: Sequence[Mutant], choice: _Choice, *, files: Sequence[str], jobs: int
) -> Iterator[tuple[Mutant, Verdict | None]]:
    """Verdicts from forks of a process that collected `files`; None = it has to be tried elsewhere."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        _be_quiet()
        with os.fdopen(sink, "w") as said:
            _pytest(files, _Collected(mutants, choice, jobs, said))
        os._exit(0)
    os.close(sink)
    told = 0
    with os.fdopen(source) as said:
        for line in said:
            place, killer, seconds = json.loads(line)
            told += 1
            yield mutants[place], None if killer == "import" else Verdict(killer, seconds)
    os.waitpid(child, 0)
    if told < len(mutants):
        raise RuntimeError(f"the process that collected the tests died after {told} of {len(mutants)} mutants")


class _Collected:
    """Instead of running the collected tests, forks for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], choice: _Choice, jobs: int, sink: TextIO) -> None:
        self._mutants = mutants
        self._choice = choice
        self._jobs = jobs
        self._sink = sink
        self._items: dict[str, pytest.Item] = {}
        self._failed = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()  # so that no fork copies what it only looks through
        places = {mutant.id: place for place, mutant in enumerate(self._mutants)}
        for mutant, verdict in _scheduled(self._mutants, self._choice, self._swapped, jobs=self._jobs):
            self._sink.write(json.dumps([places[mutant.id], verdict.killer, verdict.seconds]) + "\n")
            self._sink.flush()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed = report.nodeid

    def _swapped(self, mutant: Mutant, chosen: Sequence[Test]) -> Callable[[], Any]:
        def run() -> Any:
            _swap(mutant)
            for test in chosen:
                item = self._items[test.name]
                item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
                if self._failed:
                    break
            return {"code": int(bool(self._failed)), "failed": self._failed}

        return run


def _swap(mutant: Mutant) -> None:
    """Put the fault into the function that is there; what cannot be found ends this process."""
    module = sys.modules[mutant.module]
    file = str(module.__file__)
    code = compile(mutated(mutant, Path(file).read_text(encoding="utf-8")), file, "exec")
    holder: Any = module
    for name in mutant.scope.split("."):
        (code,) = (one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
        holder = inspect.unwrap(_plain(vars(holder)[name]))
        if isinstance(holder, FunctionType):
            holder.__code__ = code
            return
    raise LookupError(mutant.id)


def _plain(found: Any) -> Any:
    """The function behind a descriptor."""
    found = getattr(found, "__func__", found)
    return found.fget if isinstance(found, property) else found


def _imported_anew(mutant: Mutant, chosen: Sequence[Test]) -> Callable[[], Any]:
    """First the file of the first test alone, because it takes long to collect them all."""
    first = chosen[0].file
    others = sorted({test.file for test in chosen} - {first})

    def run() -> Any:
        sys.meta_path.insert(0, _Mutated(mutant))
        for files in filter(None, ([first], others)):
            failing = _Failing([test.name for test in chosen])
            code = _pytest(files, failing)
            if code:
                break
        return {"code": code, "failed": failing.failed}

    return run


def _verdict(child: "_Child") -> Verdict:
    if child.late:
        return Verdict("time", child.seconds)
    if child.answer is None or (child.answer["code"] and not child.answer["failed"]):
        return Verdict("import", child.seconds)
    return Verdict(child.answer["failed"] or None, child.seconds)


def _can_notice(test: Test, mutant: Mutant) -> bool:
    return mutant.lines is None or _ran(test.lines, mutant)


def _ran(lines: Mapping[str, frozenset[int]], mutant: Mutant) -> bool:
    return mutant.lines is not None and not lines.get(mutant.module, frozenset()).isdisjoint(mutant.lines)


def _by_module(lines: Mapping[str, Sequence[int]]) -> dict[str, frozenset[int]]:
    return {module: frozenset(numbers) for module, numbers in lines.items()}


# -- in the child -----------------------------------------------------------------------


def _pytest(arguments: Sequence[str], plugin: object) -> int:
    return int(pytest.main([*_OPTIONS, *arguments], plugins=[plugin]))


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds one module as the mutant has it."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, *_: object) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self._mutant.module else None

    def exec_module(self, module: Any) -> None:
        module.__file__ = str(ROOT / (module.__name__.replace(".", "/") + ".py"))
        source = mutated(self._mutant, Path(module.__file__).read_text(encoding="utf-8"))
        code: CodeType = compile(source, module.__file__, "exec")
        exec(code, module.__dict__)


class _Failing:
    """Keeps the chosen tests in their order and remembers the first that fails."""

    def __init__(self, names: Sequence[str]) -> None:
        self._order = {name: place for place, name in enumerate(names)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


class _Tracing:
    """Notes which lines of a room each test runs, and how long it takes; and what runs before the first."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules
        self._now: dict[str, set[int]] = {}
        self.tests: list[tuple[str, float, dict[str, list[int]]]] = []
        self.before: dict[str, list[int]] = {}
        self.failed = ""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection(self) -> Any:
        with self._traced():
            yield
        self.before = self._covered()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        started = time.process_time()
        with self._traced():
            yield
        self.tests.append((item.nodeid, time.process_time() - started, self._covered()))

    @contextlib.contextmanager
    def _traced(self) -> Iterator[None]:
        self._now = {}
        threading.settrace(self._called)
        sys.settrace(self._called)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]  # as the docs say

    def _covered(self) -> dict[str, list[int]]:
        return {self._modules[file]: sorted(lines) for file, lines in self._now.items()}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if file not in self._modules:
            return None
        lines = self._now.setdefault(file, set())
        lines.add(frame.f_lineno)

        def traced(frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
            if event == "line":
                lines.add(frame.f_lineno)
            return traced

        return traced


class _Child:
    """A forked child at work; what `work` returns comes through a pipe."""

    def __init__(self, work: Callable[[], Any], *, cpu_s: float) -> None:
        """It may take so much CPU, and, where it waits for what never comes, _WAITS times as long."""
        self._source, sink = os.pipe()
        self._started = time.monotonic()
        self._ends = self._started + _WAITS * cpu_s
        self._said = b""
        self._pid = os.fork()
        if self._pid == 0:
            _be_the_child(work, self._source, sink, cpu_s)
        os.close(sink)
        self.late = False
        #: None = it died.
        self.answer: Any = None
        self.seconds = 0.0

    def fileno(self) -> int:
        """For select."""
        return self._source

    def wait(self) -> None:
        """Until it says something, for a moment."""
        select.select([self], [], [], _TURN_S)

    def ended(self) -> bool:
        """Take in what it said; a late one is killed."""
        while select.select([self], [], [], 0)[0]:
            part = os.read(self._source, 1 << 20)
            if not part:
                self._bury()
                return True
            self._said += part
        self.late = time.monotonic() > self._ends
        if self.late:
            os.killpg(self._pid, signal.SIGKILL)
            self._bury()
        return self.late

    def _bury(self) -> None:
        os.close(self._source)
        _, status = os.waitpid(self._pid, 0)
        self.late = self.late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU)
        self.seconds = time.monotonic() - self._started
        self.answer = json.loads(self._said) if self._said and not self.late else None


def _be_the_child(work: Callable[[], Any], source: int, sink: int, cpu_s: float) -> None:
    """Never returns: what it printed is lost, what it started goes with its group."""
    code = 1
    try:
        os.close(source)
        _be_quiet()
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(cpu_s), math.ceil(cpu_s) + 5))
        answer = json.dumps(work()).encode()
        while answer:
            answer = answer[os.write(sink, answer) :]
        code = 0
    finally:
        os._exit(code)


def _be_quiet() -> None:
    """In a group of its own, so that it goes with what it started; what it says is lost."""
    os.setpgid(0, 0)
    os.chdir(ROOT)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
