"""Gathers what devices show of a new model: windows that arrived are added to their installations and waves.

It reads the windows of all devices in the order of arrival, behind a cursor that lies in `control` with the sums and
changes with them in one transaction: so each window counts exactly once, whatever dies. A batch of windows takes a
number of statements that does not depend on the size of the fleet. Which window belongs where and what is added up is
decided in `edgeops.rollout.health`; nothing is judged here.

Starts of agents that nobody asked for are noted with windows, and without one too: an agent that its model takes down
at once closes none.
"""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

import msgspec

from edgeops import limits
from edgeops.digest import digest_from_raw, digest_raw
from edgeops.errors import MessageError
from edgeops.protocol.messages import Paired, Phase, decode
from edgeops.protocol.messages import Window as Told
from edgeops.rollout.agreement import agreement_of
from edgeops.rollout.health.belonging import Belonging, Seen, of_asked, of_control
from edgeops.rollout.health.device import (
    DeviceHealth,
    with_baseline,
    with_crash,
    with_crashes_before,
    with_memory,
    with_window,
)
from edgeops.rollout.health.starts import starts_between
from edgeops.rollout.health.sums import plus
from edgeops.rollout.health.wave import replaced, with_device
from edgeops.rollout.installation import InstallationState, is_over
from edgeops.rollout.waves import control_positions
from fleet_server.artifacts import Artifacts
from fleet_server.db import events, evidence, rollouts, telemetry
from fleet_server.db.database import Connection, Database
from fleet_server.db.events import EventKind
from fleet_server.db.evidence import ArrivalKey, Part, Shows, WaveShows
from fleet_server.db.rollouts import Wave
from fleet_server.db.telemetry import Window
from fleet_server.incumbents import active_of, incumbent_of
from fleet_server.sketch_inputs import inputs_of

#: Windows in one transaction, so that the write lock is held for moments only.
_BATCH = 200
_BEFORE_ALL: ArrivalKey = (datetime(1970, 1, 1, tzinfo=UTC), "", b"", 0)
#: Asked, and the end of its part is not the end of what it shows.
_AT_WORK = frozenset({InstallationState.OFFERED, InstallationState.INSTALLING, InstallationState.COMMITTED})

_log = logging.getLogger(__name__)


class EvidenceGatherer:
    """Call `run_once` again and again, from one thread of one process."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts
        self._agreements: dict[tuple[str, str], int | None] = {}
        #: The last event that was looked at for starts. A difference of numbers is noted, so looking again is harmless.
        self._heard = 0

    def run_once(self, now: datetime) -> int:
        """Count every window that arrived; how many there were."""
        del now  # what counts is when windows were open
        windows = 0
        while taken := self._take_batch():
            windows += taken
            if taken < _BATCH:
                break
        while self._take_starts():
            pass
        return windows

    def _take_starts(self) -> bool:
        """Note starts of agents that no window told of; whether there may be more."""
        with self._database.read() as connection:
            news = events.after(connection, self._heard, (EventKind.DEVICE_STATUS,), limit=_BATCH)
            if not news:
                return False
            devices = {one.subject for one in news}
            is_new = any(_has_started(part) for part in evidence.parts_on(connection, devices))
        if is_new:
            with self._database.write() as connection, self._database.read_telemetry() as past:
                _Batch(connection, past, (), _BEFORE_ALL, self, devices=devices).count_starts()
        self._heard = news[-1].id
        return len(news) == _BATCH

    def _take_batch(self) -> int:
        with self._database.read() as connection:
            after = evidence.cursor(connection)
        with self._database.read_telemetry() as connection:
            windows = telemetry.arrival_page(connection, after=after, limit=_BATCH)
        if not windows:
            return 0
        with self._database.write() as connection, self._database.read_telemetry() as past:
            if evidence.cursor(connection) == after:
                batch = _Batch(connection, past, windows, after or _BEFORE_ALL, self)
                batch.count()
                evidence.move_cursor(connection, windows[-1].arrival_key)
        return len(windows)

    # -- what the models say ------------------------------------------------------------

    def cells(self, incumbent: str, digest: str) -> int | None:
        """How many cells the agreement of two models has; None where their answers cannot be compared."""
        pair = incumbent, digest
        if pair not in self._agreements:
            old, new = self._artifacts.get(incumbent), self._artifacts.get(digest)
            if old is None or new is None:
                return None  # not here yet, perhaps
            agreement = agreement_of(old.manifest, new.manifest)
            self._agreements[pair] = None if agreement is None else len(agreement.cells())
        return self._agreements[pair]

    def told(self, window: Window, incumbent: str | None) -> Told:
        """A window as the device told it; with pairs only where they are of the incumbent."""
        paired = _paired(window)
        if paired is not None:
            shadow = digest_from_raw(paired.shadow)
            comparable = shadow == incumbent and len(paired.cells) == self.cells(shadow, window.digest)
            paired = paired if comparable else None
        return Told(
            deployment=window.deployment,
            digest=digest_raw(window.digest),
            phase=window.phase,
            rows=window.rows,
            source_rows=window.source_rows,
            errors=window.errors,
            dropped=window.dropped,
            duration_ms=window.duration_ms,
            latency_p50_us=window.latency_p50_us,
            latency_p95_us=window.latency_p95_us,
            sketch=window.sketch,
            paired=paired,
        )

    def with_past(self, shows: Shows, window: Window) -> Shows:
        """And a window of the incumbent from before, unless there are enough of them."""
        if shows.health.before.windows >= limits.HEALTH_BASELINE_WINDOWS:
            return shows
        opened_at = _seen(window).opened_at
        past_from = opened_at if shows.past_from is None else min(shows.past_from, opened_at)
        health = with_baseline(shows.health, self.told(window, None), inputs_of(window, self._artifacts))
        return msgspec.structs.replace(shows, health=health, past_from=past_from)

    def with_since(self, health: DeviceHealth, window: Window, incumbent: str | None) -> DeviceHealth:
        """And a window since."""
        return with_window(health, self.told(window, incumbent), inputs_of(window, self._artifacts))


class _Batch:
    """Some windows, and the parts of rollouts that they belong to."""

    def __init__(
        self,
        connection: Connection,
        past: Connection,
        windows: Sequence[Window],
        after: ArrivalKey,
        gatherer: EvidenceGatherer,
        *,
        devices: Collection[str] | None = None,
    ) -> None:
        """`devices`: whose parts; None = those that the windows are of."""
        self._connection = connection
        self._past = past
        self._windows = windows
        self._after = after
        self._gatherer = gatherer
        self._parts: dict[tuple[str, str], dict[str, list[Part]]] = defaultdict(lambda: defaultdict(list))
        of = {window.device_id for window in windows} if devices is None else devices
        parts = evidence.parts_on(connection, of)
        for part in reversed(parts):
            # Of several attempts the newest is looked at first.
            self._parts[part.device_id, part.deployment][part.rollout_id].append(part)
        self._waves: dict[str, list[Wave]] = (
            rollouts.waves_by_rollout(connection, sorted({part.rollout_id for part in parts})) if parts else {}
        )
        self._shows: dict[str, Shows] = {}
        self._wave_shows: dict[tuple[str, int], WaveShows] = {}

    def count(self) -> None:
        """Add every window to what it belongs to, and store the sums."""
        for window in self._windows:
            for attempts in self._parts[window.device_id, window.deployment].values():
                any(self._add(window, part) for part in attempts)
        self._keep()

    def count_starts(self) -> None:
        """Add the starts of agents that run the new model, and store the sums."""
        for rollouts_on in self._parts.values():
            for part in chain.from_iterable(rollouts_on.values()):
                if part.shows is not None and _has_started(part):
                    health = _with_device_news(part.shows.health, part, part.shows.session)
                    new = msgspec.structs.replace(part.shows, health=health, session=part.session)
                    shows_wave = part.is_showing and part.wave == part.present
                    if shows_wave and not self._waves[part.rollout_id][part.wave].has_passed:
                        new = self._in_wave(part, part.shows, new)
                    self._shows[part.id] = new
        self._keep()

    def _keep(self) -> None:
        evidence.keep(self._connection, self._shows)
        evidence.keep_waves(self._connection, [(*place, what) for place, what in self._wave_shows.items()])

    def _add(self, window: Window, part: Part) -> bool:
        """Add a window to one part, if it belongs there."""
        if part.state is InstallationState.PENDING:
            return self._add_control(window, part)
        wave = self._waves[part.rollout_id][part.wave]
        shows_wave = part.is_showing and part.wave == part.present and not wave.has_passed
        if part.offered_at is None or is_over(part.state) or not (part.state in _AT_WORK or shows_wave):
            return False
        old = self._shows.get(part.id) or part.shows
        if old is None:
            old = Shows(incumbent=incumbent_of(part.reported, part.deployment, part.digest), session=part.session)
        belongs = of_asked(_seen(window), digest=part.digest, incumbent=old.incumbent, asked_at=part.offered_at)
        if belongs is None:
            return False
        new = self._with_past(old, part, before=part.offered_at)
        if belongs is Belonging.PAST:
            new = self._gatherer.with_past(new, window)
        else:
            health = self._gatherer.with_since(new.health, window, new.incumbent)
            # Until it commits, starts are the device's own affair: it may wait for days, and its trial counts its own.
            counted = new.session if part.state is InstallationState.COMMITTED else part.session
            health = _with_device_news(health, part, counted)
            shown_at = new.shown_at
            if window.phase != Phase.TRIAL:
                shown_at = max(shown_at or window.closed_at, window.closed_at)
            session = max(new.session, part.session)
            new = msgspec.structs.replace(new, health=health, shown_at=shown_at, session=session)
        if new.past_from is not None and new.past_from != old.past_from:
            usual = starts_between(part.starts, new.past_from, part.offered_at)
            new = msgspec.structs.replace(new, health=with_crashes_before(new.health, usual))
        new = msgspec.structs.replace(new, health=self._owing(new.health, part, new))
        if shows_wave:
            new = self._in_wave(part, old, new)
        self._shows[part.id] = new
        return True

    def _add_control(self, window: Window, part: Part) -> bool:
        place = part.rollout_id, part.present
        wave = self._waves[part.rollout_id][part.present]
        if wave.started_at is None or wave.has_passed or not self._is_control(part):
            return False
        old = (
            self._shows.get(part.id)
            or part.shows
            or Shows(incumbent=active_of(part.reported, part.deployment), session=part.session)
        )
        belongs = of_control(_seen(window), incumbent=old.incumbent, began_at=wave.started_at)
        if belongs is None:
            return False
        new = self._with_past(old, part, before=wave.started_at)
        if new.wave not in {-1, part.present}:
            # What it showed beside the wave before is its past now.
            new = msgspec.structs.replace(new, health=_as_past(new.health))
        if belongs is Belonging.PAST:
            health = self._gatherer.with_past(new, window).health
        else:
            health = _with_device_news(self._gatherer.with_since(new.health, window, None), part, new.session)
        shown = self._of_wave(place)
        is_in = new.wave == part.present
        control = replaced(shown.control, old.health, health) if is_in else with_device(shown.control, health)
        self._wave_shows[place] = msgspec.structs.replace(shown, control=control)
        session = max(new.session, part.session)
        self._shows[part.id] = msgspec.structs.replace(new, health=health, wave=part.present, session=session)
        return True

    def _is_control(self, part: Part) -> bool:
        """The control share, if the rollout holds one back; else whoever was not asked yet."""
        controls = [wave.control for wave in self._waves[part.rollout_id]]
        return part.wave in control_positions(controls, part.present)

    def _in_wave(self, part: Part, old: Shows, new: Shows) -> Shows:
        place = part.rollout_id, part.wave
        shown = self._of_wave(place)
        if old.wave == part.wave:
            shown = msgspec.structs.replace(shown, canary=replaced(shown.canary, old.health, new.health))
        else:
            incumbents = dict(shown.incumbents)
            if new.incumbent is not None:
                incumbents[new.incumbent] = incumbents.get(new.incumbent, 0) + 1
            shown = msgspec.structs.replace(shown, canary=with_device(shown.canary, new.health), incumbents=incumbents)
        self._wave_shows[place] = shown
        return msgspec.structs.replace(new, wave=part.wave)

    def _with_past(self, shows: Shows, part: Part, *, before: datetime) -> Shows:
        """The windows of its past that came before this batch, taken once."""
        if shows.has_past:
            return shows
        if shows.incumbent is not None:
            for window in telemetry.past_windows(
                self._past,
                part.device_id,
                part.deployment,
                digest=shows.incumbent,
                closed_until=before,
                arrived_until=self._after,
                limit=limits.HEALTH_BASELINE_WINDOWS,
            ):
                shows = self._gatherer.with_past(shows, window)
        return msgspec.structs.replace(shows, has_past=True)

    def _owing(self, health: DeviceHealth, part: Part, shows: Shows) -> DeviceHealth:
        """Pairs are owed only where the answers of both models can be compared."""
        if health.shadowed and (shows.incumbent is None or self._gatherer.cells(shows.incumbent, part.digest) is None):
            return msgspec.structs.replace(health, shadowed=False)
        return health

    def _of_wave(self, place: tuple[str, int]) -> WaveShows:
        rollout_id, position = place
        return self._wave_shows.get(place) or evidence.wave_shows_of(self._waves[rollout_id][position].health)


def _has_started(part: Part) -> bool:
    """Whether its agent started again since it took the model; in the trial the device itself counts that."""
    committed = part.state is InstallationState.COMMITTED
    return committed and part.shows is not None and 0 < part.shows.session < part.session


def _with_device_news(health: DeviceHealth, part: Part, counted: int) -> DeviceHealth:
    """What its trial told of memory, and the starts of its agent after the session `counted`; 0 = that is not known."""
    for _ in range(min(part.session - counted, limits.HEALTH_CRASHES) if counted else 0):
        health = with_crash(health)
    return with_memory(health, part.memory_bytes)


def _as_past(health: DeviceHealth) -> DeviceHealth:
    """The newest of what a control device has shown."""
    enough = health.since.windows >= limits.HEALTH_BASELINE_WINDOWS
    return DeviceHealth(before=health.since if enough else plus(health.before, health.since))


def _seen(window: Window) -> Seen:
    opened_at = window.closed_at - timedelta(milliseconds=window.duration_ms)
    return Seen(digest=window.digest, phase=window.phase, opened_at=opened_at, closed_at=window.closed_at)


def _paired(window: Window) -> Paired | None:
    if not window.paired:
        return None
    try:
        return decode(window.paired, Paired)
    except MessageError as error:
        _log.warning("evidence.pairs-refused device=%s seq=%d %s", window.device_id, window.seq, error)
        return None
