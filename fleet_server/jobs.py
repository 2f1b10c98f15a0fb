"""The jobs process: sees queued jobs through, and turns beside them what must turn all the time.

Beside are the engine of rollouts, what gathers the evidence of their waves, the monitoring of drift, retraining, the
freshness of TUF metadata, what it lists and the server's certificate, and the retention of old rows; each in a thread
of its own, none of which a failure ends. Only one such process works at a time (`fleet_server.alone`).
"""

import logging
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta

from edgeops import limits
from edgeops.structs import learn_all
from fleet_server.alone import alone
from fleet_server.artifacts import Artifacts
from fleet_server.blobs import Blobs
from fleet_server.certificates import Certificates
from fleet_server.config import ServerConfig
from fleet_server.courier import Courier
from fleet_server.db.database import Database
from fleet_server.db.news import News, Polling, Watch
from fleet_server.db.retention import drop_old
from fleet_server.disagreements import Disagreements
from fleet_server.engine import Engine
from fleet_server.evidence_gathering import EvidenceGatherer
from fleet_server.freshness import Freshness
from fleet_server.job_desk import JobDesk
from fleet_server.monitoring import Monitoring
from fleet_server.publish import Listing
from fleet_server.retraining import Retrainer
from fleet_server.shadowing import ShadowKeeper
from fleet_server.wall_clock import utc_now

_log = logging.getLogger(__name__)

_POLL = timedelta(milliseconds=100)
_ENGINE_INTERVAL = timedelta(milliseconds=100)
_EVIDENCE_INTERVAL = timedelta(milliseconds=500)
_RETRAINING_INTERVAL = timedelta(milliseconds=100)
#: How often the age of the TUF metadata is looked at. It lives for weeks, but this machine may have slept for some.
_FRESHNESS_INTERVAL = timedelta(minutes=1)
#: How often it is noticed that a certificate is due, or that a person made another CA sign.
_CERTIFICATE_INTERVAL = timedelta(seconds=2)
#: How often it is noticed that somebody signed beside the server.
_LISTING_INTERVAL = timedelta(seconds=1)
#: After a failure a thread rests at least this long.
_REST = timedelta(seconds=1)
_NO_NEWS = Polling()


def run_jobs(config: ServerConfig, *, warm: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; `warm` imports TensorFlow before the first job asks for it.

    Raises:
        ConfigError: another such process runs on this data folder, or it was not initialised.
        LeaseError: another such process took its place at a shared database.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with closing(Database.of(config)) as database, alone(config, database, "jobs", stop) as is_its_turn:
        if is_its_turn:
            _serve(config, database, stop, warm=warm)


def _serve(config: ServerConfig, database: Database, stop: threading.Event, *, warm: bool) -> None:
    learn_all()
    freshness = Freshness(config, database)
    freshness.keep(utc_now())
    engine = Engine(database)
    blobs = Blobs(config)
    artifacts = Artifacts(blobs)
    monitoring = Monitoring(database, artifacts)
    desk = JobDesk(config, database, stop)
    beside = [
        _thread("engine", engine.run_once, _ENGINE_INTERVAL, stop, news=database.news),
        _thread("evidence", EvidenceGatherer(database, artifacts).run_once, _EVIDENCE_INTERVAL, stop),
        _thread("disagreements", Disagreements(database, artifacts).run_once, _EVIDENCE_INTERVAL, stop),
        _thread("shadowing", ShadowKeeper(database).run_once, _EVIDENCE_INTERVAL, stop),
        _thread("monitoring", monitoring.run_once, limits.DRIFT_INTERVAL, stop),
        _thread("retraining", Retrainer(database, blobs).run_once, _RETRAINING_INTERVAL, stop, news=database.news),
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
        with closing(Watch(database.news, stop)) as watch:
            while not stop.is_set():
                if not desk.do_next():
                    watch.wait(_POLL)
    finally:
        stop.set()
        desk.close()
        for thread in beside:
            thread.join()


def _thread(
    name: str,
    turn: Callable[[datetime], object],
    interval: timedelta,
    stop: threading.Event,
    *,
    news: News = _NO_NEWS,
) -> threading.Thread:
    """A thread that takes a turn every `interval`, or when there is `news`, until `stop`."""

    def run() -> None:
        with closing(Watch(news, stop)) as watch:
            while not stop.is_set():
                try:
                    turn(utc_now())
                except Exception:  # noqa: BLE001 - a thread's border: whatever it was, the next turn finds the same state
                    _log.exception("%s.crashed", name)
                    stop.wait(max(interval, _REST).total_seconds())
                else:
                    watch.wait(interval)

    thread = threading.Thread(target=run, name=name)
    thread.start()
    return thread
