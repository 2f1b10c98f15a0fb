"""What becomes of a rollout that somebody asks for: who is in which wave, who is left out, and all that is wrong.

One function for both, a preview and the creation, so that they cannot differ. It decides and starts nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from edgeops import limits
from edgeops.errors import InputError
from edgeops.protocol.messages import Intent
from edgeops.protocol.topics import is_id
from edgeops.rollout.candidate import Candidate
from edgeops.rollout.objection import Objection
from edgeops.rollout.policy import Policy
from edgeops.rollout.selector import Everything, Selector, named, parse_selector, resolve
from edgeops.rollout.targeting import Offer, Placement, Standing, survey
from edgeops.rollout.terms import read_terms
from edgeops.rollout.waves import Wave, line_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody asks for, as they wrote it."""

    deployment: str
    selector: str
    waves: Sequence[str]
    intent: str
    #: Plain values, or one that is decided already.
    policy: Mapping[str, object] | Policy = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of it; with an objection nothing is started."""

    policy: Policy
    intent: Intent
    waves: tuple[Wave, ...]
    #: Every device that the selector means.
    placements: tuple[Placement, ...]
    objections: tuple[Objection, ...]

    def totals(self) -> dict[str, int]:
        """How many devices stand how; every standing is named."""
        counted = Counter(one.standing for one in self.placements)
        return {standing.value: counted[standing] for standing in Standing}

    def wave_of(self) -> dict[str, int]:
        """Index of the wave of each device that is in one."""
        return {one.id: number for number, wave in enumerate(self.waves) for one in wave.devices}


def plan(
    wanted: Wanted,
    offer: Offer | None,
    candidates: Sequence[Candidate],
    *,
    groups: Mapping[str, Selector],
    now: datetime,
) -> Plan:
    """Judge an order against the fleet; `offer` None = the artifact cannot be had, which the caller objects to."""
    policy, objections = _policy(wanted)
    intent, wrong_intent = _intent(wanted.intent)
    selector, wrong_selector = _selector(wanted.selector, groups)
    objections += (*wrong_intent, *_deployment(wanted.deployment), *wrong_selector)
    placements: tuple[Placement, ...] = ()
    waves: tuple[Wave, ...] = ()
    if offer is not None and not wrong_selector:
        placements = survey(selector, offer, candidates, now)
        objections += _nobody(wanted, selector, placements, candidates)
    chosen = [one.device for one in placements if one.is_in]
    seed = "" if offer is None else offer.digest
    waves, wrong_waves = line_up(wanted.waves, chosen, control_share=policy.control_share, seed=seed, groups=groups)
    objections += (*wrong_waves, *_never_met(policy, chosen))
    return Plan(policy, intent, waves, placements, objections)


def _policy(wanted: Wanted) -> tuple[Policy, tuple[Objection, ...]]:
    return (wanted.policy, ()) if isinstance(wanted.policy, Policy) else read_terms(wanted.policy)


def _intent(text: str) -> tuple[Intent, tuple[Objection, ...]]:
    try:
        return Intent(text), ()
    except ValueError:
        words = f"unknown intent {text[:40]!r}; use {' or '.join(Intent)}"
        return Intent.IMPROVE, (Objection("#/intent", words),)


def _deployment(name: str) -> tuple[Objection, ...]:
    if is_id(name):
        return ()
    words = f"not a deployment name: {name[:80]!r}; use 3 to 63 of a-z, 0-9 and -"
    return (Objection("#/deployment", words),)


def _selector(text: str, groups: Mapping[str, Selector]) -> tuple[Selector, tuple[Objection, ...]]:
    """The selector with its groups resolved."""
    try:
        return resolve(parse_selector(text), groups), ()
    except InputError as error:
        return Everything(), (Objection("#/to", str(error)),)


def _nobody(
    wanted: Wanted, selector: Selector, placements: Sequence[Placement], candidates: Sequence[Candidate]
) -> tuple[Objection, ...]:
    """What is wrong with whom the selector means."""
    # Asked of the text, not of what groups stand for: a group may list a device that has left the fleet.
    missing = _missing(parse_selector(wanted.selector), candidates)
    if missing:
        return missing
    if not placements:
        return (Objection("#/to", _nobody_matches(candidates)),)
    lacking = [one for one in placements if one.standing is Standing.NO_DEPLOYMENT]
    asked_for = {*named(selector, "id"), *named(selector, "name")}
    expected = [one for one in lacking if {one.device.id, one.device.name} & asked_for]
    if expected or len(lacking) == len(placements):
        return (_without_deployment(wanted.deployment, expected or lacking),)
    if any(one.is_in for one in placements):
        return ()
    return (_all_left_out(placements),)


def _missing(selector: Selector, candidates: Sequence[Candidate]) -> tuple[Objection, ...]:
    known = {"id": {one.id for one in candidates}, "name": {one.name for one in candidates}}
    return tuple(
        Objection("#/to", f"no enrolled device with {key} {', '.join(unknown)}; enrolled are {_names(candidates)}")
        for key, values in known.items()
        if (unknown := [value for value in named(selector, key) if value not in values])
    )


def _nobody_matches(candidates: Sequence[Candidate]) -> str:
    if not candidates:
        return "no device is enrolled; enrol one with: edgeops-agent enrol URL --token TOKEN"
    return f"no enrolled device matches; enrolled are {_names(candidates)}"


def _without_deployment(deployment: str, lacking: Sequence[Placement]) -> Objection:
    known = sorted({name for one in lacking for name in one.device.deployments})
    have = f"they report {', '.join(known)}" if known else "they report none"
    names = _names([one.device for one in lacking])
    return Objection(
        "#/deployment",
        f"no deployment {deployment!r} on {names}; {have}. Start it on the device with:"
        f" edgeops-agent replay FILE --deployment {deployment}",
    )


def _all_left_out(placements: Sequence[Placement]) -> Objection:
    """Nobody is in: because of what most are left out for."""
    ((standing, count),) = Counter(one.standing for one in placements).most_common(1)
    first = next(one for one in placements if one.standing is standing)
    words = f"no device is left to ask: {count} of {len(placements)} {standing}, as {first.device.id}: {first.reason}"
    return Objection("#/variant" if standing is Standing.INCOMPATIBLE else "#/to", words)


def _never_met(policy: Policy, chosen: Sequence[Candidate]) -> tuple[Objection, ...]:
    """So many devices that ended can never be seen; a wave that is smaller than that is judged when all of it ended."""
    if not chosen or policy.min_devices <= len(chosen):
        return ()
    words = f"waits for {policy.min_devices} devices that ended, the rollout asks {len(chosen)}; make it smaller"
    return (Objection("#/policy/min_devices", words),)


def _names(candidates: Sequence[Candidate]) -> str:
    shown = ", ".join(candidate.id for candidate in candidates[: limits.NAMED_IN_ERRORS])
    more = len(candidates) - limits.NAMED_IN_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown
