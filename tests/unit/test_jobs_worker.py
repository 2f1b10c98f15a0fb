"""The worker child and its supervisor, with tasks that need no TensorFlow."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from edgeops.data.rules import Rules
from fleet_server.datasets.snapshot import read_snapshot
from fleet_server.ml import frames
from fleet_server.ml.supervisor import StoppedError, Worker

MINUTE = timedelta(minutes=1)


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def worker(stop: threading.Event) -> Iterator[Worker]:
    worker = Worker(stop=stop)
    yield worker
    worker.close()


def task(folder: Path, label: str = "kind") -> frames.Import:
    source = folder / "data.csv"
    source.write_text("\n".join(["x,kind", *(f"{index},{index % 2}" for index in range(40))]))
    return frames.Import(
        source=str(source),
        file_name="data.csv",
        rules=Rules(label=label),
        destination=str(folder / "snapshot"),
        quarantine=str(folder / "refused"),
    )


def run(
    worker: Worker,
    wanted: frames.Import,
    *,
    timeout: timedelta = MINUTE,
    on_progress: Callable[[frames.Progress], None] = lambda _: None,
) -> frames.Ending:
    return worker.run(wanted, timeout=timeout, on_progress=on_progress)


def test_a_task_is_done_with_its_steps_told(worker: Worker, tmp_path: Path) -> None:
    steps: list[str] = []
    ending = run(worker, task(tmp_path), on_progress=lambda progress: steps.append(progress.step))
    assert isinstance(ending, frames.Imported)
    assert read_snapshot(tmp_path / "snapshot").schema == ending.schema
    assert list(dict.fromkeys(steps)) == ["reading the file", "splitting the rows", "writing the snapshot"]


def test_bad_input_is_refused_and_the_worker_stays(worker: Worker, tmp_path: Path) -> None:
    pid = worker.ensure()
    ending = run(worker, task(tmp_path, label="nothing"))
    assert ending == frames.Refused(reason="data.csv: no label column 'nothing'; there are: x, kind")
    assert isinstance(run(worker, task(tmp_path)), frames.Imported)
    assert worker.pid == pid


def test_a_bug_is_told_and_the_worker_replaced(worker: Worker, tmp_path: Path) -> None:
    ending = run(worker, frames.Import(**{**_fields(task(tmp_path)), "destination": str(tmp_path)}))
    assert isinstance(ending, frames.Crashed)
    assert ending.reason.startswith("IsADirectoryError")
    assert isinstance(run(worker, task(tmp_path)), frames.Imported)


def test_a_killed_worker_ends_its_task_and_the_next_task_gets_another(worker: Worker, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(_: frames.Progress) -> None:
        if not killed:
            killed.append(worker.ensure())
            os.kill(killed[0], signal.SIGSTOP)  # so that it cannot end the task before it dies
            os.kill(killed[0], signal.SIGKILL)

    many = task(tmp_path)
    Path(many.source).write_text("\n".join(["x,kind", *(f"{index},{index % 2}" for index in range(300_000))]))
    ending = run(worker, many, on_progress=kill)
    assert ending == frames.Crashed(reason="the child process was ended by SIGKILL; was memory short?")
    assert isinstance(run(worker, task(tmp_path)), frames.Imported)
    assert worker.pid not in killed


def test_a_task_beyond_its_time_is_ended(worker: Worker, tmp_path: Path) -> None:
    pid = worker.ensure()
    ending = run(worker, task(tmp_path), timeout=timedelta(0))
    assert isinstance(ending, frames.Crashed)
    assert "took longer than 0:00:00" in ending.reason
    assert not Path(f"/proc/{pid}").exists()


def test_a_child_that_is_ended_says_where_it_was(worker: Worker, tmp_path: Path) -> None:
    run(worker, task(tmp_path))
    worker.ensure()
    wanted = task(tmp_path)
    Path(wanted.source).unlink()
    os.mkfifo(wanted.source)
    ending = run(worker, wanted, timeout=timedelta(seconds=1))
    assert isinstance(ending, frames.Crashed)
    assert "in import_file" in ending.last_words


def test_a_stop_gives_the_task_up(worker: Worker, stop: threading.Event, tmp_path: Path) -> None:
    stop.set()
    with pytest.raises(StoppedError):
        run(worker, task(tmp_path))
    assert worker.pid is None


def test_a_worker_without_its_parent_does_not_stay() -> None:
    ghost = Worker(stop=threading.Event())
    pid = ghost.ensure()
    assert ghost._process is not None
    assert ghost._process.stdin is not None
    ghost._process.stdin.close()
    assert ghost._process.wait(timeout=30) == 0
    ghost.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_stream_is_cut_into_reports_wherever_it_was_torn() -> None:
    class Pipe:
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: bytes) -> None:
            self.data += data

        def flush(self) -> None:
            pass

    sent = [frames.Progress(step="training", share=0.5), frames.Refused(reason="no"), frames.Crashed(reason="x" * 300)]
    pipe = Pipe()
    for frame in sent:
        frames.write_frame(pipe, frame)  # type: ignore[arg-type]
    for size in (1, 3, 7, len(pipe.data)):
        buffer = frames.ReportBuffer()
        got = [report for at in range(0, len(pipe.data), size) for report in buffer.feed(pipe.data[at : at + size])]
        assert got == sent


def _fields(frame: frames.Import) -> dict[str, object]:
    return {name: getattr(frame, name) for name in frame.__struct_fields__}
