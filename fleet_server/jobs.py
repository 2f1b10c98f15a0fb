"""The jobs process: sees queued jobs through, and turns beside them what must turn all the time.

Beside are the engine of rollouts, the monitoring of drift, retraining, the freshness of TUF metadata, what it lists and
the server's certificate, and the retention of old rows; each in a thread of its own, none of which a failure ends. One
such process per data folder.
"""

import logging
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from edgeops import limits
from edgeops.structs import learn_all
from fleet_server.alone import alone
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.certificates import Certificates
from fleet_server.config import ServerConfig
from fleet_server.courier import Courier
from fleet_server.db.database import Database
from fleet_server.db.retention import drop_old
from fleet_server.engine import Engine
from fleet_server.freshness import Freshness
from fleet_server.job_desk import JobDesk
from fleet_server.monitoring import Monitoring
from fleet_server.publish import Listing
from fleet_server.retraining import Retrainer

_log = logging.getLogger(__name__)

_POLL_S = 0.1
_ENGINE_INTERVAL = timedelta(milliseconds=100)
_RETRAINING_INTERVAL = timedelta(milliseconds=100)
#: How often the age of the TUF metadata is looked at. It lives for weeks, but this machine may have slept for some.
_FRESHNESS_INTERVAL = timedelta(minutes=1)
#: How often it is noticed that a certificate is due, or that a person made another CA sign.
_CERTIFICATE_INTERVAL = timedelta(seconds=2)
#: How often it is noticed that somebody signed beside the server.
_LISTING_INTERVAL = timedelta(seconds=1)
#: After a failure a thread rests at least this long.
_REST = timedelta(seconds=1)


def run_jobs(config: ServerConfig, *, warm: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; `warm` imports TensorFlow before the first job asks for it.

    Raises:
        ConfigError: another such process runs on this data folder, or it was not initialised.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with alone(config, "jobs"):
        database = Database.in_folder(config.db)
        try:
            _serve(config, database, stop, warm=warm)
        finally:
            database.close()


def _serve(config: ServerConfig, database: Database, stop: threading.Event, *, warm: bool) -> None:
    learn_all()
    freshness = Freshness(config, database)
    freshness.keep(_now())
    engine = Engine(database)
    blobs = Blobs(config)
    monitoring = Monitoring(database, Artifacts(blobs))
    desk = JobDesk(config, database, stop)
    beside = [
        _thread("engine", engine.run_once, _ENGINE_INTERVAL, stop),
        _thread("monitoring", monitoring.run_once, limits.DRIFT_INTERVAL, stop),
        _thread("retraining", Retrainer(database, blobs).run_once, _RETRAINING_INTERVAL, stop),
        _thread("freshness", freshness.keep, _FRESHNESS_INTERVAL, stop),
        _thread("certificates", Certificates(config).keep_fresh, _CERTIFICATE_INTERVAL, stop),
        _thread("webhooks", Courier(config, database).run_once, limits.WEBHOOK_INTERVAL, stop),
        _thread("listing", Listing(config, database).follow, _LISTING_INTERVAL, stop),
        _thread("retention", lambda now: drop_old(database, now, stop), limits.RETENTION_INTERVAL, stop),
    ]
    try:
        desk.recover()
        if warm:
            desk.warm_up()
        while not stop.is_set():
            if not desk.do_next():
                stop.wait(_POLL_S)
    finally:
        stop.set()
        desk.close()
        for thread in beside:
            thread.join()


def _thread(
    name: str, turn: Callable[[datetime], object], interval: timedelta, stop: threading.Event
) -> threading.Thread:
    """A thread that takes a turn every `interval` until `stop`."""

    def run() -> None:
        while not stop.is_set():
            pause = interval
            try:
                turn(_now())
            except Exception:  # noqa: BLE001 - a thread's border: whatever it was, the next turn finds the same state
                _log.exception("%s.crashed", name)
                pause = max(interval, _REST)
            stop.wait(pause.total_seconds())

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread


def _now() -> datetime:
    return datetime.now(UTC)
