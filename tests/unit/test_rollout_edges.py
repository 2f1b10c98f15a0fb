"""The rules of rollouts where a small fault would show: exact borders, exact words, and what nothing is said of."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeops import limits
from edgeops.artifact.compatibility import incompatibilities
from edgeops.artifact.manifest import Output, Task
from edgeops.errors import InputError
from edgeops.protocol.messages import DeploymentState, DesiredDeployment, Report, UpdateState
from edgeops.rollout.agreement import agreement_of
from edgeops.rollout.clock import ServiceClock, looked
from edgeops.rollout.deviation import agrees
from edgeops.rollout.evidence import Proof, Wait, WaveEvidence, installed_verdict, wave_verdict
from edgeops.rollout.hindrance import Cause, Hindrance, Part, Situation, hindrances
from edgeops.rollout.installation import InstallationState, with_report
from edgeops.rollout.maintenance import parse_window
from edgeops.rollout.order import Wanted, plan
from edgeops.rollout.policy import HealthPolicy, Policy
from edgeops.rollout.rollout import Rollout, RolloutCommand, RolloutEvent, RolloutState, step
from edgeops.rollout.selector import Everything, InGroup, named, parse_selector, resolve
from edgeops.rollout.targeting import place
from edgeops.rollout.terms import read_terms
from edgeops.rollout.verdict import Healthy, Undecided
from edgeops.rollout.waves import WaveSpec, line_up, parse_waves
from tests.unit.target_values import NOW as TARGETED_AT
from tests.unit.target_values import OFFER, device, other_facts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(trial_inferences=20, bake=10 * MINUTE, evidence_timeout=60 * MINUTE)


# -- agreement -----------------------------------------------------------------------------------


@dataclass
class Said:
    """What an agreement asks a manifest."""

    task: Task
    output: Output = field(default_factory=Output)
    metrics: dict[str, float] = field(default_factory=dict)


def test_a_model_that_errs_by_less_than_one_is_compared_as_well():
    old = Said(Task.REGRESSION, metrics={"mae": 0.5})
    agreement = agreement_of(old, Said(Task.REGRESSION))
    assert agreement is not None
    assert agreement.take(1.0, 1.5)


@pytest.mark.parametrize(("pair", "cell"), [((1.0, 5.0), 0), ((1.0, 5.1), 1), ((1.1, 5.0), 2), ((1.1, 5.1), 3)])
def test_each_pair_of_alarms_has_a_cell_of_its_own(pair, cell):
    old = Said(Task.ANOMALY, output=Output(threshold=1.0))
    agreement = agreement_of(old, Said(Task.ANOMALY, output=Output(threshold=5.0)))
    assert agreement is not None
    agreement.take(*pair)
    assert agreement.cells().index(1) == cell


# -- the clock, waves, parts ---------------------------------------------------------------------


def test_two_looks_at_the_same_moment_are_no_outage():
    clock = ServiceClock(NOW, NOW)
    assert looked(clock, NOW, beat_at=NOW) == clock


def wave(**values):
    counters = {"size": 2, "offered": 2, "committed": 2, "failed": 0, "inconclusive": 0, **values}
    return WaveEvidence(given_up_at=NOW + 30 * MINUTE, **counters)


def test_a_wave_with_too_few_ends_says_how_many_must_have_ended():
    verdict = installed_verdict(wave(size=5), Policy(min_devices=3))
    assert verdict.reason == "2 of 2 devices committed, of at least 3 that must have ended"


def test_at_the_moment_in_which_the_bake_is_over_missing_evidence_is_told():
    verdict = wave_verdict(wave(bakes_since=NOW), POLICY, Undecided("3 of 200 inputs"), NOW + 10 * MINUTE)
    assert verdict.reason == "insufficient evidence: 3 of 200 inputs"


def test_a_wave_that_bakes_is_waited_for_until_evidence_is_overdue():
    verdict = wave_verdict(wave(bakes_since=NOW), POLICY, Healthy("well"), NOW)
    assert isinstance(verdict, Wait)
    assert verdict.until == NOW + 70 * MINUTE


def test_an_event_that_leads_nowhere_else_leaves_a_rollout_as_it_is():
    running = Rollout(RolloutState.RUNNING, 0, 2, "as before")
    assert step(running, RolloutEvent.DEVICES_READY) == (running, RolloutCommand.OFFER_WAVE)


def test_a_report_without_evidence_shows_nothing():
    report = Report(
        installation="inst-1", deployment="gas", digest=bytes(32), state=UpdateState.FAILED, detail="", evidence=None
    )
    assert with_report(Proof(), report) == Proof()


def test_a_deployment_that_runs_something_in_place_of_what_it_lost_does_not_agree():
    told = DeploymentState(deployment="gas", active="sha256:a", state=UpdateState.COMMITTED, instead_of="sha256:b")
    wanted = DesiredDeployment(deployment="gas", target="t", digest="sha256:a", installation="inst-1")
    assert agrees(told, wanted) is False


def test_a_device_that_was_removed_is_told_how_to_come_back():
    words = "the device was removed from the fleet; it comes back by enrolling again"
    assert hindrances(Situation(deployment="gas", removed=True), NOW) == (Hindrance(Cause.REMOVED, words),)


def test_the_name_of_a_part_of_the_world_is_no_zone():
    with pytest.raises(InputError, match="no data of the time zone 'Europe' on this machine"):
        parse_window("daily 22:00-05:00 Europe")


# -- orders --------------------------------------------------------------------------------------


def objected(fleet, **changes):
    values = {"deployment": "gas", "selector": "all", "waves": ("1", "100%"), "intent": "improve"}
    found = plan(Wanted(**(values | changes)), OFFER, fleet, groups={}, now=TARGETED_AT)
    return [one.detail for one in found.objections]


def test_what_people_wrote_is_shown_in_part():
    fleet = [device()]
    assert objected(fleet, intent="x" * 41) == [f"unknown intent '{'x' * 40}'; use improve or heal"]
    told = objected(fleet, deployment="X" * 81)
    assert told[0] == f"not a deployment name: '{'X' * 80}'; use 3 to 63 of a-z, 0-9 and -"


@pytest.mark.parametrize(
    ("devices", "end"), [(0, "dev-7-0001"), (1, "dev-7-0001 and 1 more"), (2, "dev-7-0001 and 2 more")]
)
def test_so_many_devices_are_named_and_the_others_counted(devices, end):
    fleet = [device(f"dev-{number}") for number in range(limits.NAMED_IN_ERRORS + devices)]
    (words,) = objected(fleet, selector="label.hall=z")
    assert words.endswith(f", {end}")


def test_of_several_reasons_for_which_all_are_left_out_the_most_frequent_is_told():
    strange = other_facts(arch="riscv64", runtime="none")
    fleet = [device("drill", facts=strange), device("fan", facts=strange), device("pump", active=OFFER.digest)]
    (words,) = objected(fleet)
    assert words.startswith("no device is left to ask: 2 of 3 incompatible, as drill-0001: ")


# -- selectors -----------------------------------------------------------------------------------


def refused(text):
    with pytest.raises(InputError) as caught:
        parse_selector(text)
    return str(caught.value).removeprefix(f"not a selector: {text!r}: at character ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("all online", "5, 'online' is not expected; put `and`, `or` or a comma between conditions"),
        ("(all", "5, a parenthesis is not closed; add `)`"),
        ("arch>=b", "1, arch is a text and cannot be compared with >=; use = or !="),
        ("python=x", "1, python is a version, not 'x'; write for example 2.14"),
        ("group>a", "1, a group cannot be compared with >; use = or !="),
        ("id", "1, id says no value; write for example id=..."),
        ("name=a!b", "7, '!' is not expected; put a value with it into \"...\""),
    ],
)
def test_what_is_no_selector_is_told_in_these_words(text, told):
    assert refused(text) == told


def test_a_word_that_joins_is_no_condition():
    assert refused("and all").startswith("1, a condition is missing; ")
    assert refused("or all").startswith("1, a condition is missing; ")


def test_parts_side_by_side_leave_room_for_no_deeper_ones():
    deep = limits.MAX_SELECTOR_DEPTH
    told = refused("all, " * 8 + "(" * deep + "all" + ")" * deep)
    assert told.endswith(f"too many parts inside parts; {deep} levels are allowed")


def test_an_unknown_key_is_shown_in_part():
    assert f"unknown key '{'k' * 60}', or did you mean 'label.{'k' * 61}'?" in refused("k" * 61 + "=x")


def test_a_label_is_guessed_from_what_stands_before_its_dot_and_from_nothing_else():
    assert "did you mean 'label.hall'?" in refused("ebel.hall=3")
    assert "or did you mean 'label.labels'?" in refused("labels=3")


def test_a_capital_is_no_wildcard():
    assert named(parse_selector("name=X"), "name") == ("X",)


def test_groups_are_told_up_to_a_number_and_without_any_how_to_make_one():
    many = {f"group-{number:02}": Everything() for number in range(limits.NAMED_IN_ERRORS + 1)}
    with pytest.raises(InputError) as caught:
        resolve(InGroup("zzz"), many)
    assert str(caught.value).endswith(f"group-{limits.NAMED_IN_ERRORS - 1:02}")
    with pytest.raises(InputError, match=r"known are none yet: edgeops group set NAME SELECTOR$"):
        resolve(InGroup("zzz"), {})


def test_a_long_selector_is_shown_in_part():
    whole = "all " + "o" * 116
    assert refused(whole).startswith("5, ")
    with pytest.raises(InputError) as caught:
        parse_selector(whole + "o")
    assert str(caught.value).startswith(f"not a selector: {whole + '...'!r}: at character 5, ")


# -- who is asked, and terms -------------------------------------------------------------------


def placed(one):
    return place(one, OFFER, TARGETED_AT)


def test_who_is_left_out_is_told_why_in_these_words():
    two = replace(device(), quarantined=True)
    assert placed(two).reason == "two devices spoke in its name; edgeops devices release"
    assert placed(device(active=OFFER.digest)).reason == "it runs this model already"
    misfits = placed(device(facts=other_facts(arch="riscv64", memory_bytes=1))).reason.split("; ")
    assert misfits == list(
        incompatibilities(OFFER.descriptor, other_facts(arch="riscv64", memory_bytes=1), deployment="gas")
    )
    assert len(misfits) > 1


def test_an_unknown_term_is_told_with_all_that_are_known_and_pointed_to_in_part():
    _, (objection,) = read_terms({"health": {"z" * 81: 1}})
    assert objection.pointer == f"#/policy/health/{'z' * 80}"
    known = ", ".join(one.name for one in msgspec.structs.fields(HealthPolicy))
    assert objection.detail == f"no such value; known are {known}"


# -- waves ---------------------------------------------------------------------------------------


def fleet(count, online):
    return [device(f"dev-{number:03}", online=number < online) for number in range(count)]


def test_a_share_of_many_is_exact():
    assert WaveSpec(50, percent=True).reach(10_000) == 5_000


def test_waves_that_end_too_early_hold_nobody_back():
    waves, (objection,) = line_up(("10",), fleet(100, 100), control_share=0.05, seed="s", groups={})
    assert objection.detail == "the waves end at 10 of 100 devices; add a last wave of 100%"
    assert [wave.control for wave in waves] == [False]


def test_where_one_wave_asks_all_nobody_is_left_for_control():
    waves, _ = line_up(("100%",), fleet(20, 20), control_share=0.2, seed="s", groups={})
    assert [len(wave.devices) for wave in waves] == [20]


def test_of_those_held_back_the_ones_online_come_first():
    waves, _ = line_up(("1", "100%"), fleet(20, 4), control_share=0.5, seed="s", groups={})
    told = [one.online for one in waves[-1].devices]
    assert waves[-1].control
    assert told == [True] * 3 + [False] * 7


def test_what_is_no_wave_is_told_in_these_words():
    forms = "give a number of devices, a percentage or a selector, as in group=canaries,50%,100%"
    with pytest.raises(InputError) as caught:
        parse_waves(["?"])
    assert str(caught.value) == f"not a wave: '?'; {forms}"


# -- why nothing happens -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (RolloutState.DRAFT, "is a draft; submit it"),
        (RolloutState.AWAITING_APPROVAL, "waits for an approver, who approves or denies it"),
        (RolloutState.SCHEDULED, "begins later"),
        (RolloutState.PAUSED, "is paused; a person resumes, advances, retries or aborts it"),
        (RolloutState.ROLLING_BACK, "takes its model back and asks nobody"),
        (RolloutState.ABORTED, "is aborted and asks nobody"),
    ],
)
def test_a_rollout_that_asks_nobody_is_told_in_these_words(state, words):
    part = Part(rollout_id="r-1", rollout_state=state, state=InstallationState.PENDING, digest="sha256:a")
    assert hindrances(Situation(deployment="gas", part=part), NOW)[0].words == f"rollout r-1 {words}"


def test_a_part_of_which_no_more_is_known_is_in_the_only_wave_and_nobody_is_at_it():
    part = Part(
        rollout_id="r-1", rollout_state=RolloutState.RUNNING, state=InstallationState.PENDING, digest="sha256:a"
    )
    assert (part.wave, part.waves, part.in_flight, part.asked_lately) == (0, 1, 0, 0)
    assert wave().problem == ""
