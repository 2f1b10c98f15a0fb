"""The link process: wires its threads together, watches them, and ends when told or when one fails.

Only one link works at a time (`fleet_server.alone`): it keeps what is committed in memory.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import FrameType

from edgeops import limits
from edgeops.protocol.envelope import Session
from edgeops.protocol.topics import ALL_UP
from edgeops.structs import learn_all
from fleet_server.accounts import publish_accounts
from fleet_server.alone import alone
from fleet_server.broker import server_password
from fleet_server.certificates import broker_context
from fleet_server.config import ServerConfig
from fleet_server.db import ingest
from fleet_server.db.database import Database
from fleet_server.link.allowance import Allowance, Share
from fleet_server.link.blocks import Shelf
from fleet_server.link.floods import FloodWatch
from fleet_server.link.heartbeat import Heartbeat
from fleet_server.link.ingestion import Ingestion
from fleet_server.link.keyring import Keyring
from fleet_server.link.meta import Library
from fleet_server.link.mqtt import Broker, Delivery
from fleet_server.link.outbox import OutboxSender
from fleet_server.link.refusals import RefusalWatch
from fleet_server.link.silence import SilenceWatch
from fleet_server.link.voice import Voice
from fleet_server.link.wishes import WishServer, is_wish
from fleet_server.wall_clock import utc_now

log = logging.getLogger(__name__)

_SHARE = Share()


def run_link(config: ServerConfig, *, share: Share = _SHARE, stopping: threading.Event | None = None) -> None:
    """Run the link until SIGTERM, SIGINT or `stopping`; `share` is what every device may say.

    Raises:
        ConfigError: another link runs on this data folder, or it was not initialised.
        LeaseError: another link took its place at a shared database.
        Exception: what ended one of its threads; a supervisor starts the process again.
    """
    stopping = stopping or threading.Event()
    with (
        _stopped_by_signals(stopping),
        closing(Database.of(config)) as database,
        alone(config, database, "link", stopping) as is_its_turn,
    ):
        if is_its_turn:
            _run(config, database, Allowance(share), stopping)


def _run(config: ServerConfig, database: Database, allowance: Allowance, stopping: threading.Event) -> None:
    learn_all()
    # Who verifies a signature lets go of the interpreter lock, and would then wait for it for 5 ms at every message.
    sys.setswitchinterval(limits.LINK_SWITCH_INTERVAL.total_seconds())
    voice = Voice.of(config, database, now=utc_now())
    broker = Broker(
        host=config.local_broker_host,
        port=config.broker_port,
        username=config.broker_user,
        password=server_password(config),
        subscription=ALL_UP,
        tls=broker_context(config),
    )
    keyring = Keyring(database)
    outbox = OutboxSender(config, database, broker=broker, voice=voice, stopping=stopping)
    ingestion = Ingestion(
        database,
        broker=broker,
        voice=voice,
        keyring=keyring,
        send_desired=outbox.send_desired,
        stopping=stopping,
    )
    shelf = Shelf(database, config.blob_path)
    wishes = WishServer(
        broker=broker,
        keyring=keyring,
        shelf=shelf,
        library=Library(config.repository, shelf),
        refuse=ingestion.put,
        session=lambda device_id: _session(database, device_id),
        rate_bytes_per_s=config.block_rate,
        rate_bytes_per_s_per_device=config.device_rate,
        stopping=stopping,
    )

    def deliver(delivery: Delivery) -> None:
        way = wishes if is_wish(delivery) else ingestion
        size_bytes, now_s = len(delivery.payload), time.monotonic()
        if allowance.admits(delivery.speaker, size_bytes, much_waits=way.much_waits, now_s=now_s):
            way.put(delivery)
        else:
            broker.acknowledge(delivery)  # else the flood would wait in the broker, before the others

    threads = _Threads(stopping)
    silence = SilenceWatch(database, broker=broker, stopping=stopping)
    floods = FloodWatch(
        database, allowance=allowance, publish_accounts=partial(publish_accounts, config, database), stopping=stopping
    )
    heartbeat = Heartbeat(database, broker=broker, commits=lambda: not ingestion.is_held_up, stopping=stopping)
    refusals = RefusalWatch(database, path=config.broker_log, stopping=stopping)
    for name, run in (
        ("ingestion", ingestion.run),
        ("outbox", outbox.run),
        ("wishes", wishes.run),
        ("silence", silence.run),
        ("floods", floods.run),
        ("refusals", refusals.run),
        ("heartbeat", heartbeat.run),
    ):
        threads.start(name, run)
    broker.start(deliver)
    log.info("link.started")
    stopping.wait()
    ingestion.stop()
    wishes.stop()
    threads.join()
    broker.stop()
    log.info("link.stopped")
    threads.raise_failure()


def _session(database: Database, device_id: str) -> Session | None:
    with database.read_telemetry() as connection:
        return ingest.newest_session(connection, device_id)


class _Threads:
    """Threads of which none may end alone."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None

    def start(self, name: str, run: Callable[[], None]) -> None:
        """Run a function in a thread; its end is the end of all."""
        thread = threading.Thread(target=self._guarded, args=(name, run), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait for all."""
        for thread in self._threads:
            thread.join()

    def raise_failure(self) -> None:
        """Raise what ended a thread, if one failed."""
        if self._failure is not None:
            raise self._failure

    def _guarded(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # a thread's border; the main thread raises it
            log.critical("link.thread_failed name=%s", name, exc_info=error)
            self._failure = self._failure or error
        finally:
            self._stopping.set()


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stopping`; in another thread than the main one signals are not ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
