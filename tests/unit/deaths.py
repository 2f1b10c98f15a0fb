"""An engine that dies at every statement, and what came of it."""

from sqlalchemy import event

from fleet_server.db.events import EventKind
from fleet_server.engine import Engine
from tests.unit.engine_rig import Fleet

MOMENTS = ["before_cursor_execute", "after_cursor_execute"]


class KilledError(OSError):
    """The process ends here: as if the database were gone, which is never a step's fault and never caught."""


class Killer:
    """Ends the engine at statement number `at`, before or after the database carried it out."""

    def __init__(self, fleet: Fleet) -> None:
        self._engine = fleet.database.control
        self.count = 0
        self.at: int | None = None

    def __call__(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN"):
            return  # dying right after it is dying before the next one, and here it would keep the lock
        self.count += 1
        if self.count == self.at:
            raise KilledError

    def run(self, fleet: Fleet, *, at: int, moment: str) -> bool:
        """Run a new engine that dies; False when it got through."""
        self.count, self.at = 0, at
        event.listen(self._engine, moment, self)
        try:
            Engine(fleet.database).run_once(fleet.now)
        except KilledError:
            return True
        finally:
            event.remove(self._engine, moment, self)
        return False


def die_everywhere(fleet: Fleet, moment: str) -> int:
    """One death at every statement, before or after it; how many there were."""
    killer = Killer(fleet)
    deaths = 0
    while killer.run(fleet, at=deaths + 1, moment=moment):
        deaths += 1
    fleet.engine = Engine(fleet.database)
    fleet.run()
    return deaths


def changes_of_desired(fleet: Fleet) -> list[tuple[str, str | None]]:
    return [(one.subject, one.data["digest"]) for one in fleet.events(EventKind.DESIRED_CHANGED)]
