"""A fleet in a file: what it says, and what has to change until it is so."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edgeops import limits
from edgeops.errors import InputError
from edgeops.fleet_file.document import Document, Group, Pin, Rollout, read_document, split_reference
from edgeops.fleet_file.plan import Act, Present, PresentPin, PresentRollout, plan
from edgeops.fleet_file.source import Source, read_source
from edgeops.learning.triggers import Mode, RetrainPolicy
from edgeops.rollout.policy import Policy, of_undo

DIGEST = "sha256:" + "1" * 64


def read(text):
    return read_document(read_source(text, name="fleet.yaml"))


def refused(text):
    with pytest.raises(InputError) as caught:
        read(text)
    return str(caught.value)


# -- reading


def test_a_file_is_read():
    document = read(
        """
groups:
  canaries: site=lab
  pair: [pump-1, pump-2]
  named: {selector: online}
pins:
  - {device: pump-1, to: gas@2, reason: audit, until: 2026-12-01}
  - {device: pump-2, deployment: gas}
retraining:
  gas: {mode: off, cooldown: P2D}
rollouts:
  - {model: gas@2, deployment: gas, to: group=canaries, waves: [1, 100%], policy: {retries: 2}}
"""
    )
    assert document == Document(
        groups={
            "canaries": Group(selector="site=lab"),
            "pair": Group(devices=("pump-1", "pump-2")),
            "named": Group(selector="online"),
        },
        pins=(
            Pin(device="pump-1", to="gas@2", reason="audit", until=datetime(2026, 12, 1, tzinfo=UTC)),
            Pin(device="pump-2", deployment="gas"),
        ),
        retraining={"gas": RetrainPolicy(mode=Mode.OFF, cooldown=timedelta(days=2))},
        rollouts=(Rollout(model="gas@2", deployment="gas", to="group=canaries", policy={"retries": 2}),),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_an_empty_file_speaks_of_nothing(text):
    assert read(text) == Document()


def test_a_section_without_entries_is_there_and_one_that_is_left_out_is_not():
    assert read("groups:\n").groups == {}
    assert read("pins: []\n").pins == ()
    assert read("pins: []\n").groups is None


def test_a_moment_is_utc_unless_it_says_otherwise():
    (pin,) = read("pins: [{device: pump-1, until: 2026-12-01T10:00:00}]").pins
    assert pin.until == datetime(2026, 12, 1, 10, tzinfo=UTC)
    (pin,) = read("pins: [{device: pump-1, until: 2026-12-01T10:00:00+02:00}]").pins
    assert pin.until == datetime(2026, 12, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        ('"2030-01-01T00:00:00"', datetime(2030, 1, 1, tzinfo=UTC)),
        ('"2030-01-01T00:00:00+02:00"', datetime(2029, 12, 31, 22, tzinfo=UTC)),
        ('"2030-01-01T00:00:00Z"', datetime(2030, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_in_quotes_is_read_as_one_without(until, moment):
    """As the server tells it: otherwise the file would change the pin for ever."""
    (pin,) = read(f"pins: [{{device: pump-1, until: {until}}}]").pins
    assert (pin.until, pin.until.tzinfo) == (moment, UTC)


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+02:00", '"0001-01-01T00:00:00+02:00"', '"tomorrow"'])
def test_a_moment_that_cannot_be_told_is_refused_with_its_place(until):
    assert "fleet.yaml:1: #/pins/0/until: " in refused(f"pins: [{{device: pump-1, until: {until}}}]")


def test_what_the_server_would_refuse_of_a_request_is_told_before_anything_is_changed(monkeypatch):
    monkeypatch.setattr(limits, "MAX_GROUPS", 1)
    told = refused(f"""groups:
  lab: site=lab
  plant: site=plant
pins:
  - {{device: pump-1, to: "sha256:abc"}}
  - device: pump-2
    reason: {"r" * 501}
retraining:
  gas:
    waves: [{", ".join(["50%"] * 50)}, 100%]
rollouts:
  - {{model: gas@1, deployment: gas, variant: float99, intent: hope}}
  - {{model: G@1, deployment: gas, to: online}}
""").splitlines()
    assert [line.split(": ")[:2] for line in told] == [
        ["fleet.yaml:5", "#/pins/0/to"],
        ["fleet.yaml:7", "#/pins/1/reason"],
        ["fleet.yaml:10", "#/retraining/gas/waves"],
        ["fleet.yaml:12", "#/rollouts/0/variant"],
        ["fleet.yaml:12", "#/rollouts/0/intent"],
        ["fleet.yaml:13", "#/rollouts/1/model"],
        ["fleet.yaml:1", "#/groups"],
    ]
    assert "not a digest: 'sha256:abc'" in told[0]
    assert "500 characters" in told[1]


def test_a_group_of_more_devices_than_the_server_takes_is_refused():
    many = [f"pump-{number}" for number in range(limits.MAX_GROUP_DEVICES + 1)]
    with pytest.raises(InputError, match="#/groups/many/devices: "):
        read_document(Source("fleet.yaml", {"groups": {"many": many}}, {}))


def test_a_wave_of_a_retraining_is_any_selector_as_a_wave_of_a_rollout_is():
    wave = "label.site=plant-north and memory>=512MiB"
    document = read(f"retraining:\n  gas: {{waves: [{wave}, 100%]}}\n")
    assert document.retraining == {"gas": RetrainPolicy(waves=(wave, "100%"))}


def test_a_number_of_devices_in_a_wave_needs_no_quotes():
    document = read("""retraining:
  gas: {waves: [1, 5, 100%]}
rollouts:
  - {model: gas@1, deployment: gas, waves: [3, 100%]}
""")
    assert document.retraining == {"gas": RetrainPolicy(waves=("1", "5", "100%"))}
    assert document.rollouts[0].waves == ("3", "100%")


@pytest.mark.parametrize("wave", ["0.5", "true", "half", "0", "{}"])
def test_a_wave_that_cannot_be_used_is_told_with_its_place(wave):
    told = refused(f"""retraining:
  gas:
    waves:
      - 1
      - {wave}
      - 100%
rollouts:
  - model: gas@1
    deployment: gas
    waves:
      - 1
      - {wave}
""").splitlines()
    assert [line.split(": ")[:2] for line in told] == [
        ["fleet.yaml:5", "#/retraining/gas/waves/1"],
        ["fleet.yaml:12", "#/rollouts/0/waves/1"],
    ]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ("labels: -1", "#/retraining/gas/labels"),
        ("selector: hal=3", "#/retraining/gas/selector"),
        ("waves: [1]", "#/retraining/gas/waves"),
        ("rollout_policy: {health: {min_rows: 0}}", "#/retraining/gas/rollout_policy/health/min_rows"),
    ],
)
def test_a_value_of_a_policy_that_cannot_be_used_is_told_with_its_place(values, place):
    assert f"fleet.yaml:3: {place}: " in refused(f"retraining:\n  gas:\n    {values}\n")


def test_everything_that_is_wrong_is_told_with_its_line_and_pointer():
    told = refused("""groups:
  canaries: hal=3
  both: {selector: all, devices: [pump-1]}
  none: {}
  nested: group=canaries
pin: []
rollouts:
  - model: gas
    deployment: G
  - model: gas@1
    deployment: gas
    waves: ["half"]
    policy: {retrys: 1, health: {min_rows: 0}}
    two: 2
  - deployment: gas
""").splitlines()
    assert [line.split(": ")[:2] for line in told] == [
        ["fleet.yaml:6", "#/pin"],
        ["fleet.yaml:2", "#/groups/canaries/selector"],
        ["fleet.yaml:3", "#/groups/both"],
        ["fleet.yaml:4", "#/groups/none"],
        ["fleet.yaml:5", "#/groups/nested/selector"],
        ["fleet.yaml:9", "#/rollouts/0/deployment"],
        ["fleet.yaml:14", "#/rollouts/1/two"],
        ["fleet.yaml:15", "#/rollouts/2"],
    ]
    assert "did you mean pins?" in told[0]
    assert told[-1].endswith("model is missing")


def test_a_group_that_no_server_would_take_is_told_before_anything_is_changed():
    told = refused("groups:\n  fine: all\n  x/y: all\n")
    assert "fleet.yaml:3: #/groups/x~1y: not a group name: 'x/y'" in told
    assert "fine" not in told


def test_a_device_that_is_listed_twice_is_in_the_group_once():
    """The server keeps it once: otherwise the file would change the group for ever."""
    document = read("groups:\n  pair: [pump-2, pump-1, pump-2]\n")
    assert document.groups == {"pair": Group(devices=("pump-2", "pump-1"))}


def test_terms_of_a_rollout_are_judged_with_their_lines():
    told = refused("""rollouts:
  - model: gas@x
    deployment: gas
    to: hal=3
    waves:
      - "1"
      - half
    policy:
      health:
        min_rows: 0
""").splitlines()
    assert [line.split(": ")[:2] for line in told] == [
        ["fleet.yaml:2", "#/rollouts/0/model"],
        ["fleet.yaml:4", "#/rollouts/0/to"],
        ["fleet.yaml:7", "#/rollouts/0/waves/1"],
        ["fleet.yaml:10", "#/rollouts/0/policy/health/min_rows"],
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("groups: [", "fleet.yaml:1: not YAML"),
        ("a: 1\n b: 2\n", "fleet.yaml:2: not YAML"),
        ("groups:\n  a: all\n  a: online\n", "fleet.yaml:3: 'a' stands here twice"),
        ("a: &x all\nb: *x\n", "fleet.yaml:2: an alias"),
        ("--- {}\n--- {}\n", "not YAML"),
        ("- 1\n", "fleet.yaml:1: #: a fleet file is a table of groups, pins, retraining, rollouts"),
        ("groups: all\n", "#/groups: is a table"),
        ("pins: {}\n", "#/pins: is a list"),
        ("pins: [3]\n", "#/pins/0: is a table of values"),
        ("pins: [{device: pump-1, to: gas}]\n", "#/pins/0/to: 'gas' is not MODEL@VERSION"),
        ("retraining: {gas: {mode: never}}\n", "#/retraining/gas/mode: not a retraining policy"),
        ("retraining: {gas: 3}\n", "#/retraining/gas: not a retraining policy"),
        ("pins: [{device: pump-1}, {device: pump-1}]\n", "#/pins/1: says again what entry 1 says: pump-1"),
        ("[1]: 2\n", "a key that is no text"),
        ("a: \x00\n", "not YAML"),
    ],
)
def test_what_is_no_fleet_file_is_refused(text, words):
    assert words in refused(text)


def test_a_file_is_not_read_deeper_than_a_fleet_can_be():
    assert "more than 32 tables or lists" in refused("[" * 70_000)


@pytest.mark.parametrize("text", ["gas", "gas@", "gas@x", "gas@0", "gas@\u00b2", "gas@1234567890", "@"])
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(InputError, match="not MODEL@VERSION"):
        split_reference(text)


# -- comparing

DOCUMENT = Document(
    groups={"canaries": Group(selector="online"), "pair": Group(devices=("pump-1", "pump-2"))},
    pins=(Pin(device="pump-1", to="gas@2", reason="audit"), Pin(device="pump-2", deployment="gas")),
    retraining={"gas": RetrainPolicy(labels=40)},
    rollouts=(Rollout(model="gas@2", deployment="gas", to="group=canaries", policy={"retries": 2}),),
)
THERE = Present(
    groups={"canaries": Group(selector="online"), "pair": Group(devices=("pump-1", "pump-2"))},
    pins=(
        PresentPin(device="pump-1", deployment=None, digest=DIGEST, reason="audit", until=None),
        PresentPin(device="pump-2", deployment="gas", digest=None, reason="", until=None),
    ),
    retraining={"gas": RetrainPolicy(labels=40)},
    rollouts=(
        PresentRollout(
            id="rollout-1", state="running", model="gas", version=2, variant="int8", deployment="gas",
            to="group=canaries", policy=msgspec.to_builtins(Policy(retries=2)), waves=("1", "100%"), intent="improve",
        ),
    ),
    digests={("gas@2", "int8"): DIGEST},
)  # fmt: skip
NOTHING = Present(retraining={"gas": RetrainPolicy()}, digests=THERE.digests)


def acts(document=DOCUMENT, present=THERE, *, prune=False):
    return [(one.act, one.noun, one.name) for one in plan(document, present, prune=prune)]


def test_a_fleet_that_is_as_its_file_says_needs_no_change():
    assert acts() == []
    assert acts(prune=True) == []


def test_what_nobody_knows_is_neither_compared_nor_pruned():
    pins = (Pin(device="pump-1", to="gas@9"),)
    document = Document(pins=pins, retraining={"gas": RetrainPolicy(labels=40), "oil": RetrainPolicy()})
    present = replace(THERE, pins=THERE.pins[:1])
    assert acts(document, present, prune=True) == []


def test_a_fresh_fleet_gets_everything_groups_before_the_rollouts_that_name_them():
    assert acts(present=NOTHING) == [
        (Act.CREATE, "group", "canaries"), (Act.CREATE, "group", "pair"), (Act.CREATE, "pin", "pump-1"),
        (Act.CREATE, "pin", "pump-2/gas"), (Act.CHANGE, "retraining", "gas"),
        (Act.CREATE, "rollout", "gas on group=canaries"),
    ]  # fmt: skip


def test_what_drifted_is_changed_back():
    pins = (replace(THERE.pins[0], reason="other"), THERE.pins[1])
    present = replace(
        THERE, groups=THERE.groups | {"pair": Group(devices=("pump-1",))}, pins=pins,
        retraining={"gas": RetrainPolicy(labels=41)},
    )  # fmt: skip
    changes = plan(DOCUMENT, present, prune=False)
    assert [(one.act, one.noun, one.name) for one in changes] == [
        (Act.CHANGE, "group", "pair"), (Act.CHANGE, "pin", "pump-1"), (Act.CHANGE, "retraining", "gas"),
    ]  # fmt: skip
    assert changes[0].before["devices"] != changes[0].after["devices"]


def test_only_pruning_removes_and_only_in_sections_that_the_file_has():
    extra = PresentPin(device="pump-9", deployment=None, digest=None, reason="", until=None)
    present = replace(THERE, groups=THERE.groups | {"old": Group(selector="all")}, pins=(*THERE.pins, extra))
    assert acts(present=present) == []
    assert acts(present=present, prune=True) == [(Act.REMOVE, "pin", "pump-9"), (Act.REMOVE, "group", "old")]
    assert acts(Document(), present, prune=True) == []


@pytest.mark.parametrize("changes", [{"version": 1}, {"model": "gas2"}, {"variant": "float32"}, {"to": "all"}])
def test_a_rollout_of_another_model_is_begun(changes):
    present = replace(THERE, rollouts=(replace(THERE.rollouts[0], **changes),))
    assert acts(present=present) == [(Act.CREATE, "rollout", "gas on group=canaries")]


def test_a_version_may_be_written_with_zeros():
    document = replace(DOCUMENT, rollouts=(msgspec.structs.replace(DOCUMENT.rollouts[0], model="gas@002"),))
    assert acts(document) == []


def test_a_rollout_on_other_terms_is_told_and_not_touched():
    present = replace(THERE, rollouts=(replace(THERE.rollouts[0], policy={}),))
    (change,) = plan(DOCUMENT, present, prune=True)
    assert change.act is Act.DIFFERS
    assert "rollout-1 began on other terms, which stay" in change.remark


@pytest.mark.parametrize("terms", [{"continuous": True}, {"waves": ("2", "100%")}, {"intent": "heal"}])
def test_every_term_of_a_rollout_is_compared(terms):
    present = replace(THERE, rollouts=(replace(THERE.rollouts[0], **terms),))
    (change,) = plan(DOCUMENT, present, prune=False)
    assert (change.act, change.name) == (Act.DIFFERS, "gas on group=canaries")
    assert [name for name in change.before if change.before[name] != change.after[name]] == list(terms)


def undone(**changes):
    """The fleet after what the file names was undone: version 1 again, on the terms of an undo."""
    terms = {"policy": msgspec.to_builtins(of_undo(Policy(retries=2))), "waves": ("100%",), "intent": "heal"}
    undo = replace(
        THERE.rollouts[0], id="rollout-2", version=1, state="finished", undoes=THERE.rollouts[0], **terms, **changes
    )
    return replace(THERE, rollouts=(undo,))


def test_what_was_undone_is_told_and_not_begun_again():
    (change,) = plan(DOCUMENT, undone(), prune=False)
    assert change.act is Act.DIFFERS
    assert (change.before["model"], change.after["model"]) == ("gas@1", "gas@2")
    assert "rollout rollout-2 undid rollout-1" in change.remark


@pytest.mark.parametrize("state", ["draft", "awaiting-approval", "scheduled", "denied"])
def test_what_waits_or_was_denied_does_not_make_anew_what_has_begun(state):
    begun = THERE.rollouts[0]
    newest = replace(begun, id="rollout-2", version=3, state=state, has_begun=False)
    present = replace(THERE, rollouts=(newest, begun))
    assert acts(present=present) == []
    document = replace(DOCUMENT, rollouts=(msgspec.structs.replace(DOCUMENT.rollouts[0], model="gas@3"),))
    assert acts(document, present) == [(Act.DIFFERS, "rollout", "gas on group=canaries")]


def test_a_newer_rollout_that_has_begun_decides():
    begun = THERE.rollouts[0]
    newest = replace(begun, id="rollout-2", version=3)
    assert acts(present=replace(THERE, rollouts=(newest, begun))) == [(Act.CREATE, "rollout", "gas on group=canaries")]


def test_a_moment_is_the_same_wherever_its_clock_stands():
    text = "pins:\n  - {device: pump-1, until: 2026-12-01T00:00:00+02:00}\n"
    (pin,) = read_document(read_source(text, name="fleet.yaml")).pins
    assert pin.until == datetime(2026, 11, 30, 22, tzinfo=UTC)
    assert pin.until.tzinfo is UTC


@pytest.mark.parametrize(("model", "expected"), [("gas@1", []), ("gas@3", [Act.CREATE])])
def test_after_an_undo_a_file_may_name_what_it_brought_or_something_new(model, expected):
    document = replace(DOCUMENT, rollouts=(msgspec.structs.replace(DOCUMENT.rollouts[0], model=model),))
    assert [one.act for one in plan(document, undone(), prune=False)] == expected


@pytest.mark.parametrize("state", ["draft", "awaiting-approval", "scheduled"])
def test_a_rollout_that_has_not_begun_says_what_it_waits_for(state):
    """It may never begin: whoever applies the file again is not told that the fleet is as it says."""
    waiting = replace(THERE.rollouts[0], state=state, has_begun=False, waits_for="an approver")
    (change,) = plan(DOCUMENT, replace(THERE, rollouts=(waiting,)), prune=False)
    assert change.act is Act.DIFFERS
    assert change.remark == f"rollout rollout-1 is {state}, and waits for an approver"


@pytest.mark.parametrize(
    ("state", "differs"),
    [("running", False), ("finished", False), ("paused", True), ("failed", True), ("aborted", True), ("denied", True)],
)
def test_a_rollout_that_ended_badly_or_stands_still_is_told_and_not_begun_again(state, differs):
    present = replace(THERE, rollouts=(replace(THERE.rollouts[0], state=state),))
    assert [one.act for one in plan(DOCUMENT, present, prune=False)] == [Act.DIFFERS] * differs
