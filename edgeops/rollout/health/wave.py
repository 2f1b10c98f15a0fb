"""What the devices of a wave have shown together: sums, so that news of one device costs the same in any fleet.

A wave's health is stored with it as JSON. When a device's health changes, `replaced` takes what the device added before
out of the sums and puts in what it adds now. The control share is another such sum, over devices that were not asked.
"""

from dataclasses import dataclass

import msgspec

from edgeops.rollout.health.betting import evidence_below, is_certain, share_of
from edgeops.rollout.health.device import DeviceHealth, Pairs, Period
from edgeops.rollout.health.finding import counted
from edgeops.rollout.health.spread import Spread, moved
from edgeops.rollout.health.sums import minus, plus

#: How often, at most, a device that pairs half of what it shall is taken for one whose shadow was given up.
_LACK_ALPHA = 0.001


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What those devices of a wave have shown by themselves that are judged together."""

    devices: int = 0
    before: Period = Period()
    since: Period = Period()
    own_p95: Spread = Spread()


class Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What some devices have shown."""

    devices: int = 0
    #: Of them, those that were heard since they committed; what a trial shows tells nothing of the time after it.
    heard: int = 0
    #: Those that owe pairs, and those of them that send them.
    shadowed: int = 0
    paired: int = 0
    before: Period = Period()
    since: Period = Period()
    pairs: Pairs = Pairs()
    #: Each device against its own past: the 95th percentile of its windows since by its median before.
    own_p95: Spread = Spread()
    #: Of all that, what is of devices beside whose model the old one answers, and of others without a past. Of those
    #: that are left no pairs tell anything, and their past does.
    beside: Part = Part()
    fresh: Part = Part()
    #: New and old, over devices of which both are known, and how many these are.
    memory_devices: int = 0
    memory_bytes: int = 0
    memory_before_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Devices beside which no old model answers, so that they are judged by what they show themselves."""

    part: Part
    #: Which ones these are; empty where there are no others.
    where: str = ""


class Labels(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people said of disagreements that were drawn by chance among all of a wave's.

    For a regression, `right` is who is closer to the truth, and `neither` where both are as far.
    """

    new_right: int = 0
    old_right: int = 0
    neither: int = 0
    #: Disagreements that were sent for labelling and wait.
    waiting: int = 0
    #: They are of devices that were asked before, not of those that are judged.
    of_others: bool = False

    @property
    def given(self) -> int:
        """Disagreements that somebody labelled."""
        return self.new_right + self.old_right + self.neither


class Stated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the two models' manifests say of rows that they never learnt from; None = nothing."""

    #: Accuracy of a classifier or an anomaly model.
    new_accuracy: float | None = None
    old_accuracy: float | None = None
    #: Usual error (`agreement.USUAL_ERROR`) of a regression.
    new_error: float | None = None
    old_error: float | None = None


class WaveHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a wave's health gate looks at."""

    canary: Shown = Shown()
    #: Devices that were held back, over the same time.
    control: Shown = Shown()
    labels: Labels = Labels()
    stated: Stated = Stated()
    #: Devices of the wave that run the new model and fell silent.
    silent: int = 0
    #: Others that sent nothing in the last part of the bake, and nothing since.
    quiet: int = 0
    #: Others that are quarantined: what they showed is in no sum.
    distrusted: int = 0
    #: Others that were removed, where none is left.
    removed: int = 0


def groups_alone(shown: Shown) -> tuple[Group, ...]:
    """The devices whose pairs tell nothing; those with a past, and those that have only others to be compared with."""
    whole = Part(devices=shown.devices, before=shown.before, since=shown.since, own_p95=shown.own_p95)
    known = minus(minus(whole, shown.beside), shown.fresh)
    told = {" without an old model beside": known, " without a past": shown.fresh}
    seen = [(words, part) for words, part in told.items() if part.devices > 0 and part.since.met]
    if len(seen) + bool(shown.shadowed) > 1:
        return tuple(Group(part, f" on {counted(part.devices, 'device')}{words}") for words, part in seen)
    if seen:
        return (Group(seen[0][1]),)
    return () if shown.shadowed else (Group(known),)


def shown_by(device: DeviceHealth) -> Shown:
    """What one device adds."""
    has_memory = device.memory_bytes > 0 and device.memory_before_bytes > 0
    own_p95 = _against(device.since.latency_p95, device.before.latency_p95)
    part = Part(devices=1, before=device.before, since=device.since, own_p95=own_p95)
    is_beside = device.shadowed and not _lacks_pairs(device)
    is_fresh = not is_beside and not device.before.met
    return Shown(
        devices=1,
        heard=int(device.heard),
        shadowed=int(device.shadowed),
        paired=int(is_beside and device.pairs.seen > 0),
        before=device.before,
        since=device.since,
        pairs=device.pairs,
        own_p95=own_p95,
        beside=part if is_beside else Part(),
        fresh=part if is_fresh else Part(),
        memory_devices=int(has_memory),
        memory_bytes=device.memory_bytes if has_memory else 0,
        memory_before_bytes=device.memory_before_bytes if has_memory else 0,
    )


def with_device(shown: Shown, device: DeviceHealth) -> Shown:
    """And one more device."""
    return plus(shown, shown_by(device))


def without_device(shown: Shown, device: DeviceHealth) -> Shown:
    """Without one that is in it."""
    return minus(shown, shown_by(device))


def left(shown: Shown, device: DeviceHealth) -> Shown:
    """A device that is in it ended without the model: it owes nothing more, and what it showed stays."""
    owed = shown_by(device)
    return minus(
        shown,
        Shown(
            devices=1,
            heard=owed.heard,
            shadowed=owed.shadowed,
            paired=owed.paired,
            beside=Part(devices=owed.beside.devices),
            fresh=Part(devices=owed.fresh.devices),
        ),
    )


def replaced(shown: Shown, old: DeviceHealth, new: DeviceHealth) -> Shown:
    """A device that is in it has shown more."""
    return with_device(without_device(shown, old), new)


def _lacks_pairs(device: DeviceHealth) -> bool:
    """Whether clearly fewer than half of what was to be paired since the commit was: its shadow was given up."""
    rows = device.live.rows
    seen = share_of(min(device.live.chosen, rows), rows)
    return is_certain(evidence_below(seen, device.shadow_share / 2), _LACK_ALPHA)


def _against(since: Spread, before: Spread) -> Spread:
    centre = before.median
    return Spread() if centre is None else moved(since, -centre)
