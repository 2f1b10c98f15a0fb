"""What one event costs the engine of rollouts in a fleet of 10,000 devices, and in one of 100.

Both fleets lie in SQLite files of their own and are in the middle of the same rollout; every tenth device is offline.
Of each kind of event one is written down and taken in by itself, turn about in the small fleet and the large one. What
concerns every device (a start that takes all of them over from an older rollout, an abort, taking a model back) is
reckoned by device, from the order to the last device.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from msgspec.structs import replace

from bench._rollout_fleet import POLICY, Cost, RolloutFleet
from edgeops.protocol.messages import DeploymentState, Reason, UpdateState
from edgeops.rollout.installation import HOLDING, OPEN, Deadlines, InstallationState
from edgeops.rollout.rollout import RolloutState
from fleet_server.db import offers
from fleet_server.rollout_orders import abort_rollout

SMALL, LARGE = 100, 10_000
#: The small fleet has devices for so many.
ROUNDS = 9
BAR = 1.5
#: Devices that are at it at the same time.
_AT_ONCE = 10

Act = Callable[[RolloutFleet], None]


def measure(*, small: int = SMALL, large: int = LARGE, rounds: int = ROUNDS) -> dict[str, Any]:
    """The largest ratio of what a kind of event takes in the large fleet and in the small one."""
    with tempfile.TemporaryDirectory() as folder:
        bases = [RolloutFleet(Path(folder) / str(size), size=size) for size in (small, large)]
        costs = {**_single(bases, rounds), **_many(bases)}
    ratios = {kind: big.seconds / little.seconds for kind, (little, big) in costs.items()}
    more = {kind: big.statements / max(little.statements, 1e-9) for kind, (little, big) in costs.items()}
    return {
        "name": "engine_events",
        "value": round(max(ratios.values()), 2),
        "unit": "x, the kind of event that grows most",
        "baseline": None,
        "bar": f"<= {BAR:g}, and no more statements of an event of one device",
        "holds": max(ratios.values()) <= BAR and all(more[kind] <= (BAR if kind in _MANY else 1) for kind in more),
        "inside": (
            f"one event, taken in by itself, with {small} and with {large} devices; SQLite, nobody waits for the disk;"
            f" CPU time of the engine's thread, median of {rounds}, turn about. ms and statements of each kind: "
            + "; ".join(_told(kind, *both) for kind, both in costs.items())
        ),
    }


def _told(kind: str, little: Cost, big: Cost) -> str:
    def figures(one: Cost) -> str:
        longest = f", longest transaction {1000 * one.longest_s:.0f} ms" if kind in _MANY else ""
        return f"{1000 * one.seconds:.2f} ms {one.statements:g}{longest}"

    return f"{kind} {figures(little)} / {figures(big)} = {big.seconds / little.seconds:.2f}"


# -- events of one device ------------------------------------------------------------------------


def _single(bases: list[RolloutFleet], rounds: int) -> dict[str, tuple[Cost, Cost]]:
    """Each kind of event, first while devices are asked, then while the wave bakes."""
    fleets = [base.copied(base.folder / "one") for base in bases]
    for fleet in fleets:
        fleet.begin(replace(POLICY, max_in_flight=_AT_ONCE))
        fleet.have_committed(fleet.size // 4)
        fleet.tick()
    found = _turn_about(fleets, _ASKING, rounds)
    for fleet in fleets:
        fleet.have_committed(fleet.size)
        fleet.tick()
        assert fleet.wave().bakes_since is not None
    found |= _turn_about(fleets, _BAKING, rounds)
    for fleet in fleets:
        fleet.close()
    return found


def _turn_about(
    fleets: list[RolloutFleet], kinds: dict[str, tuple[Act, Act]], rounds: int
) -> dict[str, tuple[Cost, Cost]]:
    seen: dict[str, list[list[Cost]]] = defaultdict(lambda: [[] for _ in fleets])
    for _ in range(rounds):
        for kind, (prepare, act) in kinds.items():
            for place, fleet in enumerate(fleets):
                prepare(fleet)
                cost = Cost()
                with fleet.watch.adding_to(cost):
                    act(fleet)
                seen[kind][place].append(cost)
    return {kind: (_middle(small), _middle(large)) for kind, (small, large) in seen.items()}


def _middle(costs: list[Cost]) -> Cost:
    return Cost(median(one.seconds for one in costs), median(one.statements for one in costs))


def _take_in(fleet: RolloutFleet) -> None:
    """What was written down, and nothing that is due."""
    assert fleet.engine.run_once(fleet.now) == 1


def _tick(fleet: RolloutFleet) -> None:
    assert fleet.engine.run_once(fleet.now) == 0


def _later(fleet: RolloutFleet) -> None:
    fleet.tick()
    fleet.now += timedelta(seconds=1)


def _installs(fleet: RolloutFleet) -> None:
    one = fleet.open_offers()[-1]
    state = DeploymentState(deployment="gas", state=UpdateState.FETCHING, installation=one.id)
    fleet.reports(one.device_id, state)


def _commits(fleet: RolloutFleet) -> None:
    fleet.commits(fleet.open_offers()[0])


def _fails(fleet: RolloutFleet) -> None:
    fleet.says(fleet.open_offers()[0], UpdateState.FAILED, reason=Reason.GOLDEN)


def _asks_one(fleet: RolloutFleet) -> None:
    """There is room for one, since another has committed."""
    fleet.tick()
    _commits(fleet)
    _take_in(fleet)
    fleet.now += timedelta(seconds=1)


def _is_overdue(fleet: RolloutFleet) -> None:
    _later(fleet)
    one = fleet.open_offers()[0]
    assert one.asked_at is not None
    with fleet.database.write() as connection:
        offers.put_off(connection, one, Deadlines(one.asked_at, one.asked_at, one.asked_at))


def _comes(fleet: RolloutFleet) -> None:
    """And there is room for it."""
    fleet.tick()
    _commits(fleet)
    _take_in(fleet)
    fleet.comes_back(fleet.offline()[0].device_id)


def _joins(fleet: RolloutFleet) -> None:
    fleet.tick()
    fleet.joins()


def _shows(fleet: RolloutFleet) -> None:
    _later(fleet)
    fleet.shows_a_window(fleet.committed()[0])


def _gather(fleet: RolloutFleet) -> None:
    assert fleet.gatherer.run_once(fleet.now) == 1


def _gather_and_judge(fleet: RolloutFleet) -> None:
    _gather(fleet)
    _tick(fleet)


#: While devices are asked.
_ASKING: dict[str, tuple[Act, Act]] = {
    "a device installs": (_installs, _take_in),
    "a device commits": (_commits, _take_in),
    "a device fails": (_fails, _take_in),
    "a second in which one is asked": (_asks_one, _tick),
    "a second in which one times out": (_is_overdue, _tick),
    "a second in which nothing is due": (_later, _tick),
    "a device comes and is asked": (_comes, _take_in),
    "a device joins the fleet": (_joins, _take_in),
}
#: While the wave bakes, and there are devices that are offline.
_BAKING: dict[str, tuple[Act, Act]] = {
    "a second in which a wave bakes": (_later, _tick),
    "a window of a baking wave": (_shows, _gather_and_judge),
}


# -- what concerns every device ---------------------------------------------------------------


_START, _ABORT, _BACK = "start over an older rollout, by device", "abort, by device", "take back, by device"
_MANY = frozenset({_START, _ABORT, _BACK})


def _many(bases: list[RolloutFleet]) -> dict[str, tuple[Cost, Cost]]:
    """Every device that is online was asked and has not ended; and then, all of them have the model."""
    found: dict[str, list[Cost]] = defaultdict(list)
    for base in bases:
        asked = base.copied(base.folder / "asked")
        asked.begin(POLICY)
        asked.ask_everybody()
        with _twin(asked, "start") as fleet:
            found[_START].append(_start(fleet))
        with _twin(asked, "abort") as fleet:
            found[_ABORT].append(_abort(fleet, roll_back=False))
        with _twin(asked, "back") as fleet:
            fleet.have_committed(fleet.size)
            found[_BACK].append(_abort(fleet, roll_back=True))
    return {kind: (small, large) for kind, (small, large) in found.items()}


@contextmanager
def _twin(fleet: RolloutFleet, name: str) -> Iterator[RolloutFleet]:
    twin = fleet.copied(fleet.folder / name)
    try:
        yield twin
    finally:
        twin.close()


def _start(fleet: RolloutFleet) -> Cost:
    fleet.now += timedelta(seconds=1)
    newer = fleet.roll_out(2, waves=("1", "100%"), starts_at=fleet.now + timedelta(seconds=1), policy=POLICY)
    fleet.now += timedelta(seconds=1)
    cost = _until(fleet, lambda: not fleet.count(*OPEN, InstallationState.PENDING))
    assert fleet.rollout(newer).state is RolloutState.RUNNING
    assert fleet.rollout(fleet.rollout_id).state is RolloutState.ABORTED
    return cost


def _abort(fleet: RolloutFleet, *, roll_back: bool) -> Cost:
    fleet.now += timedelta(seconds=1)
    cost = Cost()
    with fleet.watch.adding_to(cost):
        abort_rollout(fleet.database, fleet.rollout_id, fleet.me(), roll_back=roll_back)
    left = (*OPEN, *HOLDING) if roll_back else tuple(OPEN)
    return _until(fleet, lambda: not fleet.count(*left), cost)


def _until(fleet: RolloutFleet, is_done: Callable[[], bool], cost: Cost | None = None) -> Cost:
    """Have the engine turn, by device."""
    cost = cost or Cost()
    while not is_done():
        with fleet.watch.adding_to(cost):
            fleet.engine.run_once(fleet.now)
        fleet.now += timedelta(milliseconds=100)
    return _by_device(cost, fleet)


def _by_device(cost: Cost, fleet: RolloutFleet) -> Cost:
    return Cost(cost.seconds / fleet.size, cost.statements / fleet.size, cost.longest_s)
