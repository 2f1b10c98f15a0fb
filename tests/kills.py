"""kill -9 at every statement that an act sends to its database, one process after the other, until one gets through.

`kill_everywhere(act, ...)` starts a warden of its own, with one thread, which forks: so a death costs milliseconds, and
what is killed shares no connection, no lock and no thread with the test. The act is a function of a module, called with
a `Stage`; it opens its database there.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path

from sqlalchemy import event

from fleet_server.config import ServerConfig
from fleet_server.db.database import Database
from tests.stores import hasty

#: More would be an act that never ends.
_MOST = 400


@dataclass(frozen=True)
class Stage:
    """What an act is given."""

    #: The data folder, and the URL of its database if it is on PostgreSQL.
    data: str
    url: str | None
    #: What time it is (RFC 3339), and whatever else a test has to tell.
    at: str
    more: str = ""
    #: At which statement the process dies; 0 = at none.
    kill_at: int = 0

    @property
    def config(self):
        return ServerConfig(Path(self.data), database=self.url)

    @property
    def now(self):
        return datetime.fromisoformat(self.at)

    def open(self):
        """The database, armed."""
        return self.arm(hasty(Database.of(self.config)))

    def arm(self, database):
        """Die at a statement, a BEGIN or a COMMIT of this database, before it is sent."""
        count = 0

        def step(*_):
            nonlocal count
            count += 1
            if count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        for engine in (database.control, database.telemetry):
            event.listen(engine, "before_cursor_execute", step)
            event.listen(engine, "commit", step)
        return database


def stage_of(config, now, more=""):
    return Stage(str(config.data), config.database, now.isoformat(), more)


def kill_everywhere(act, stage):
    """How many processes were killed until one carried out the whole act."""
    command = [sys.executable, "-m", "tests.kills", f"{act.__module__}:{act.__name__}", json.dumps(asdict(stage))]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=root, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-1])


def _main(name, stage):
    module, _, function = name.partition(":")
    act = getattr(import_module(module), function)
    for at in range(1, _MOST):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                act(Stage(**json.loads(stage) | {"kill_at": at}))
                status = 0
            except Exception:  # noqa: BLE001 - a fork's border: it must not go on as the warden
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(ended)
        if code == 0:
            print(at - 1)
            return
        assert code == -signal.SIGKILL, f"the act failed with {code} when it was to die at statement {at}"
    raise AssertionError(f"the act did not get through {_MOST} times")


if __name__ == "__main__":
    _main(*sys.argv[1:])
