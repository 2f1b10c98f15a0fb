"""The server is away for an hour in mid-wave, while devices go on; all clocks but the broker's are moved.

Nothing of that hour is held against a device: the clock of deadlines stands still until devices were heard again. What
devices had to say waits with them. Deadlines that ran before go on afterwards: a device that lost its power at the
moment when the server went away has what was left of its time, and is lost then.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from device_agent.control import ask
from edgeops import limits
from edgeops.errors import UnreachableError
from edgeops.local import processes
from edgeops.local.up import Site
from tests.integration import moved_clock
from tests.integration.moved_clock import MovedClock
from tests.integration.scene_rig import DEPLOYMENT, POLICY, Scene, eventually, good_rows

pytestmark = [pytest.mark.slow, pytest.mark.long]

HOUR = timedelta(hours=1)
#: While the server is away, at each of which every loop of every agent turns.
STEP_S = 10
#: How long a wait may take to see that the clock was moved.
GLANCE_S = 0.005
#: When the server is back: how much faster than by itself time passes, and what passes at once at most.
FASTER = 10
MOST_S = 2.0
#: So slow that a trial is not over when the server goes.
SLOW_HZ = 2
#: Seconds of real time, on a busy machine, are minutes here.
PROGRESS_TIMEOUT = timedelta(minutes=4)
PATIENT = POLICY | {
    "bake": 60,
    "trial_inferences": 120,
    "progress_timeout": int(PROGRESS_TIMEOUT.total_seconds()),
    "offer_timeout": 400,
    # One of three may be lost; whether one is counted as lost is what is looked at.
    "max_failure": 0.4,
    "min_success": 0.6,
    "retry_after": 5,
    "health": {"min_rows": 60, "max_error_rise": 0.2},
}


class World:
    """A scene whose time a test moves, with a server that can be taken out of it."""

    def __init__(self, scene: Scene, clock: MovedClock) -> None:
        self.scene = scene
        self.clock = clock
        self._flowed_s = time.monotonic()
        for agent in scene.site.agents:
            arguments = ("--state", agent.state, "run", *self._places())
            self._moves(agent, agent.name, "agent", limits.SPOOL_BYTES, *arguments)
        self.server = [part for part in scene.site.server if part.child.name in ("api", "link", "jobs")]
        for part in self.server:
            verb = part.child.name
            self._moves(part, verb, "server", *scene.site._server_command(verb)[3:])

    def _places(self):
        places = self.scene.site.endpoints
        return "--broker", f"{places.broker_host}:{places.broker_port}", "--server", places.url

    def _moves(self, part, name, *arguments):
        """It starts with clocks that are moved from now on."""
        program = [sys.executable, moved_clock.__file__, self.clock.path, GLANCE_S]
        command = [str(one) for one in (*program, *arguments)]
        part.start = partial(processes.start, name, command, logs=self.scene.site.logs)

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.clock.ahead_s)

    def start_anew(self, agent) -> None:
        self.scene.stop(agent)
        self.scene.site.start_agent(agent)
        eventually(lambda: self.scene.runs(agent), what=f"{agent.name} is there again")

    def take_server_away(self) -> None:
        for part in self.server:
            part.child.process.kill()
        for part in self.server:
            part.child.process.wait()

    def bring_server_back(self) -> None:
        for part in self.server:
            part.child = part.start()
        eventually(self.answers, what="the server answers again")
        self._flowed_s = time.monotonic()

    def answers(self) -> bool:
        try:
            return bool(self.scene.client.health())
        except UnreachableError:
            return False

    def pass_time(self, span: timedelta, agents) -> None:
        """The agents live through it."""
        for _ in range(int(span.total_seconds()) // STEP_S):
            before = {agent.name: turns(agent) for agent in agents}
            self.clock.move(STEP_S)
            for agent in agents:
                eventually(partial(has_turned, agent, before[agent.name]), what=f"the loops of {agent.name} turn")

    def flow(self) -> None:
        """Time passes faster than by itself."""
        now_s = time.monotonic()
        self.clock.move(min((FASTER - 1) * (now_s - self._flowed_s), MOST_S))
        self._flowed_s = now_s


def turns(agent):
    loops = ask(agent.state / "agent.sock", {"do": "status"})["loops"]
    return {name: loops[name] for name in ("main", "link", f"feed-{DEPLOYMENT}")}


def has_turned(agent, before):
    after = turns(agent)
    return all(after[name] > before[name] for name in before)


@pytest.fixture
def world(tmp_path):
    clock = MovedClock(tmp_path / "clock")
    with Site(tmp_path / "site", agents=4, starter=True) as site:
        yield World(Scene(site), clock)
    clock.close()


def changes(scene, rollout, agent):
    """(moment, state) of all its attempts, from the events of the server."""
    attempts = {one.id for one in scene.client.installations(rollout.id) if one.device_id == agent.device_id}
    events = scene.client.past_events(kinds=("installation.changed",))
    return [(one.at, one.data["state"]) for one in events if one.subject in attempts]


def first_attempt(scene, rollout, agent):
    attempts = [one for one in scene.client.installations(rollout.id) if one.device_id == agent.device_id]
    return min(attempts, key=lambda one: one.attempt)


def test_an_hour_without_the_server_in_mid_wave_is_held_against_nobody(world):
    scene, site = world.scene, world.scene.site
    proven, trying, dying, waiting = site.agents
    for agent in site.agents:
        world.start_anew(agent)
        scene.play(good_rows(2_000), agent, rate_hz=SLOW_HZ if agent in (trying, dying) else 50)
    good = scene.add_good()
    first = ",".join(one.device_id for one in (proven, trying, dying))
    asked_at = world.now()
    started = scene.roll_out(good, waves=(f"id={first}", "100%"), policy=PATIENT)
    eventually(lambda: scene.installation(started, proven).state == "committed", what="one has proved it")
    for agent in (trying, dying):
        eventually(lambda agent=agent: scene.deployment(agent).state == "trial", what=f"{agent.name} tries it")
        assert scene.installation(started, agent).state == "installing"
    # What is shown in an hour at this rate is enough.
    scene.play(good_rows(2_000), proven, waiting, rate_hz=SLOW_HZ)

    world.take_server_away()
    gone_at = world.now()
    dying.child.process.kill()
    dying.child.process.wait()
    assert not world.answers()
    world.pass_time(HOUR, (proven, trying, waiting))
    assert [scene.runs(one) for one in (proven, trying, waiting)] == [good, scene.good, scene.good]
    world.bring_server_back()
    back_at = world.now()
    assert back_at - gone_at >= HOUR

    eventually(lambda: world.flow() or scene.client.rollout(started.id).wave == 1, what="the wave goes on and passes")
    rollout = scene.ended(started, "finished", meanwhile=world.flow)
    for agent in (proven, trying, waiting):
        assert scene.installation(rollout, agent).state == "healthy"
        went = [state for _, state in changes(scene, rollout, agent)]
        assert "timed-out" not in went, f"{agent.name}: {went}"
    # What ended while the server was away is heard, and no failure.
    doubted = first_attempt(scene, rollout, trying)
    assert (doubted.state, doubted.detail) == ("retried", "no contact to the server for 10 minutes")
    # Deadlines go on where they stood.
    [timed_out, _] = [at for at, state in changes(scene, rollout, dying) if state == "timed-out"]
    assert first_attempt(scene, rollout, dying).detail.startswith("not heard to go on within ")
    # That nobody is heard is noticed only after a while.
    passed = gone_at - asked_at + limits.HEARTBEAT_MISSED
    assert timed_out >= back_at + limits.GRACE_AFTER_OUTAGE + PROGRESS_TIMEOUT - passed
    # What they showed meanwhile has come, and counts.
    shown = scene.client.telemetry(proven.device_id, since=gone_at, until=back_at)
    assert sum(one.rows for one in shown if one.digest == good) > 0.5 * HOUR.total_seconds() * SLOW_HZ

    assert {scene.runs(one) for one in (proven, trying, waiting)} == {good}
