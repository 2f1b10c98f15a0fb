"""The child: reads tasks from stdin, does one at a time, tells progress and the ending on stdout.

It knows no database and no keys: files in, files out. It ends when its parent does. TensorFlow and pyarrow are imported
when the first task needs them: trainings have a child that is kept warm, a file of a person has one to itself, which
may hold only so much memory.
"""

import faulthandler
import os
import resource
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, assert_never

import msgspec

from edgeops.errors import InputError, PlatformError
from edgeops.parent import end_with
from fleet_server.datasets.buying import Bought, extend
from fleet_server.datasets.snapshot import read_snapshot, write_snapshot
from fleet_server.ml import frames
from fleet_server.ml.epoch import Epoch


def main() -> None:
    """Serve tasks until stdin ends."""
    end_with(int(sys.argv[1]))
    faulthandler.enable((Path(tempfile.gettempdir()) / frames.LAST_WORDS_FILE).open("w"))
    # It would be as large as TensorFlow.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if most_bytes := int(sys.argv[2]):
        # What is mapped from files does not count (RLIMIT_DATA, Linux 4.7).
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    # Libraries print to stdout; frames need a stream of their own.
    with os.fdopen(os.dup(1), "wb") as reports, os.fdopen(os.dup(0), "rb") as tasks:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        while (task := frames.read_task(tasks)) is not None:
            if isinstance(task, frames.Warm):
                _warm()
                continue
            ending = _end(task, reports)
            frames.write_frame(reports, ending)
            if isinstance(ending, frames.Crashed):
                break


def _warm() -> None:
    from fleet_server.ml.framework import load_tensorflow

    # Without TensorFlow the first training says so; until then there is other work.
    with suppress(PlatformError):
        load_tensorflow()


def _end(task: frames.Work, reports: BinaryIO) -> frames.Ending:
    try:
        return _do(task, reports)
    except (InputError, PlatformError) as error:
        return frames.Refused(reason=str(error))
    except MemoryError:
        return frames.Refused(reason="not enough memory for this; use fewer rows or columns, or a smaller model")
    except Exception as error:  # noqa: BLE001 - the border of this process: whatever it was, the parent must know
        traceback.print_exc()
        return frames.Crashed(reason=f"{type(error).__name__}: {error}")


def _do(task: frames.Work, reports: BinaryIO) -> frames.Ending:
    def report(step: str, share: float, epoch: Epoch | None = None, /) -> None:
        frames.write_frame(reports, frames.Progress(step=step, share=share, epoch=epoch))

    match task:
        case frames.Import():
            from fleet_server.datasets.importing import import_file

            schema = import_file(
                Path(task.source),
                task.rules,
                file_name=task.file_name,
                destination=Path(task.destination),
                quarantine=Path(task.quarantine),
                report=report,
            )
            return frames.Imported(schema=schema)
        case frames.Inspect():
            from fleet_server.datasets.inspecting import inspect_file

            found = inspect_file(Path(task.source), file_name=task.file_name, report=report)
            return frames.Inspected(inspection=found)
        case frames.Extend():
            report("joining the bought rows", 0.1)
            parent = read_snapshot(Path(task.parent))
            bought = msgspec.msgpack.decode(Path(task.bought).read_bytes(), type=list[Bought])
            snapshot = extend(parent, bought, parent_digest=task.parent_digest, without=task.without)
            write_snapshot(snapshot, Path(task.destination))
            return frames.Imported(schema=snapshot.schema)
        case frames.Forget():
            from fleet_server.datasets.forgetting import forget_group

            report("leaving out the group", 0.1)
            schema = forget_group(
                Path(task.parent),
                task.group,
                quarantine=None if task.quarantine is None else Path(task.quarantine),
                folder=Path(task.destination),
            )
            return frames.Imported(schema=schema)
        case frames.Bring():
            from fleet_server.ml.bring import bring

            return bring(task, report)
        case frames.Build():
            from fleet_server.ml.build import build

            return build(task, report)
        case _:
            assert_never(task)


if __name__ == "__main__":
    main()
