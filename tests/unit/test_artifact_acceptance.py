"""The acceptance set: what it holds, what it refuses to hold, and what it lets pass."""

import msgspec
import numpy as np
import pytest

from edgeops import limits
from edgeops.artifact.acceptance import (
    AcceptanceSet,
    acceptance_path,
    check_acceptance,
    choose_inputs,
    decode_acceptance,
    encode_acceptance,
    inputs_that_fit,
    make_acceptance,
    misfit,
)
from edgeops.artifact.manifest import Task
from edgeops.errors import ArtifactError
from edgeops.model.model import Model
from tests.golden.tiny import LABELS, tiny_artifact, tiny_manifest, tiny_rows

ROWS, CLASSES = tiny_rows(120, seed=5)


def tiny_set(*, floor: float = 0.95, class_floors=(0.9, 0.9, 0.9), classes=CLASSES) -> AcceptanceSet:
    return make_acceptance(tiny_manifest(), ROWS[:, None, :], classes, floor=floor, class_floors=class_floors)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.tflite").write_bytes(tiny_artifact())
    model = Model.load(tmp_path / "model.tflite")
    yield model
    model.close()


def test_a_set_survives_its_bytes():
    made = tiny_set()
    back = decode_acceptance(encode_acceptance(made))
    assert back == made
    np.testing.assert_array_equal(back.inputs()[:, 0], ROWS)
    assert list(back.classes) == list(CLASSES)


def test_a_good_model_passes_and_its_figures_are_told(model):
    verdict = check_acceptance(model, tiny_set())
    assert verdict.passed
    assert verdict.accuracy >= 0.95
    assert set(verdict.per_class) == set(LABELS)


def test_a_model_is_judged_by_the_names_of_its_classes(model):
    model.manifest = msgspec.structs.replace(
        model.manifest, output=msgspec.structs.replace(model.manifest.output, labels=("green", "blue", "red"))
    )
    verdict = check_acceptance(model, tiny_set())
    assert not verdict.passed
    assert verdict.accuracy < 0.1
    assert "of 120 inputs right, 95.0% asked for" in verdict.shortfalls[0]


def test_one_class_that_is_lost_fails_although_the_whole_is_good_enough(model):
    classes = np.where(CLASSES == 2, (CLASSES + 1) % 3, CLASSES)
    verdict = check_acceptance(model, tiny_set(floor=0.3, class_floors=(0.9, 0.0, 0.0), classes=classes))
    assert [text.split(" right")[0].split(" of ")[1] for text in verdict.shortfalls] == ["class red"]


def test_a_floor_is_kept_when_it_is_met_exactly(model):
    exact = check_acceptance(model, tiny_set(floor=0.0, class_floors=(0.0, 0.0, 0.0)))
    floors = tuple(exact.per_class[label] for label in LABELS)
    assert check_acceptance(model, tiny_set(floor=exact.accuracy, class_floors=floors)).passed


def test_an_input_that_the_model_refuses_is_wrong(tmp_path):
    from edgeops.artifact.manifest import MissingPolicy

    (tmp_path / "model.tflite").write_bytes(tiny_artifact(missing=MissingPolicy.REFUSE))
    model = Model.load(tmp_path / "model.tflite")
    rows = ROWS.copy()
    rows[:60, 0] = np.nan
    made = make_acceptance(tiny_manifest(), rows[:, None, :], CLASSES, floor=0.6, class_floors=(0.0, 0.0, 0.0))
    verdict = check_acceptance(model, made)
    assert not verdict.passed
    assert verdict.accuracy <= 0.5
    model.close()


def test_a_class_without_inputs_has_no_share_and_fails_no_floor(model):
    red = CLASSES == 0
    made = make_acceptance(tiny_manifest(), ROWS[red][:, None, :], CLASSES[red], floor=0.9, class_floors=(0.9,) * 3)
    verdict = check_acceptance(model, made)
    assert verdict.passed
    assert set(verdict.per_class) == {"red"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 2"),
        ({"windows": b"\0" * 12}, "windows of an acceptance set have 12 bytes"),
        ({"classes": bytes([3] * 120)}, "names class 3 of 3"),
        ({"classes": b""}, "length >= 1"),
        ({"classes": bytes(257), "windows": bytes(16 * 257)}, "length <= 256"),
        ({"labels": ("red",)}, "length >= 2"),
        ({"labels": ("red", "green", "blue", "white")}, "3 class floors for 4 labels"),
        ({"rows": 0}, ">= 1"),
        ({"model": "../x"}, "regex"),
    ],
)
def test_a_set_that_does_not_hold_together_is_refused(change, words):
    with pytest.raises(ArtifactError, match=words):
        decode_acceptance(encode_acceptance(msgspec.structs.replace(tiny_set(), **change)))


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_floor_is_a_share(floor):
    with pytest.raises(ArtifactError, match="not an acceptance set"):
        tiny_set(floor=floor)
    with pytest.raises(ArtifactError, match="not an acceptance set"):
        tiny_set(class_floors=(0.5, floor, 0.5))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02", b"\xff" * 100, b'{"format": 1}'])
def test_bytes_that_are_no_set_are_refused(data):
    with pytest.raises(ArtifactError, match="not an acceptance set"):
        decode_acceptance(data)


def test_more_bytes_than_devices_fetch_are_refused():
    with pytest.raises(ArtifactError, match="take fewer inputs"):
        decode_acceptance(b"\0" * (limits.MAX_METADATA_BYTES + 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "gas"}, "it is of tiny, the model is gas"),
        ({"task": Task.REGRESSION}, "the model does regression"),
    ],
)
def test_a_set_of_another_model_says_nothing(change, words):
    why = misfit(tiny_set(), msgspec.structs.replace(tiny_manifest(), **change))
    assert why is not None
    assert words in why


def test_a_model_of_other_inputs_or_without_a_class_does_not_fit(model):
    made = tiny_set()
    swapped = msgspec.structs.replace(made, columns=("x2", "x1", "x3", "x4"))
    with pytest.raises(ArtifactError, match="other columns"):
        check_acceptance(model, swapped)
    with pytest.raises(ArtifactError, match="does not know its labels"):
        check_acceptance(model, msgspec.structs.replace(made, labels=("red", "green", "violet")))


def test_no_delegation_covers_where_the_set_is_listed():
    from edgeops.artifact.manifest import auto_model

    assert acceptance_path("tiny") == "models/tiny/acceptance"
    assert auto_model(acceptance_path("tiny")) is None
    assert auto_model("models/tiny/auto/1-int8.json") == "tiny"
    assert auto_model("models/tiny/auto/") == "tiny", "`*` also matches nothing"
    assert auto_model("models/tiny/auto/deeper/1-int8.json") is None


def test_inputs_are_chosen_evenly_and_a_rare_class_is_taken_whole():
    classes = np.array([0] * 500 + [1] * 300 + [2] * 5)
    chosen = choose_inputs(classes, 101)
    counts = np.bincount(classes[chosen])
    assert counts.tolist() == [48, 48, 5]
    assert len(set(chosen.tolist())) == 101
    assert chosen.min() == 0
    assert 490 < chosen[classes[chosen] == 0].max() < 500


@pytest.mark.parametrize("count", [0, 1, 2, 256])
def test_no_more_inputs_are_chosen_than_there_are_or_may_be(count):
    chosen = choose_inputs(CLASSES, count)
    assert len(chosen) == min(count, len(CLASSES))
    assert len(choose_inputs(np.zeros(0, np.int64), count)) == 0


def test_wide_inputs_leave_room_for_fewer():
    manifest = tiny_manifest()
    assert inputs_that_fit(manifest) == 256
    columns = tuple(f"p{number}" for number in range(4096))
    wide = msgspec.structs.replace(manifest, window=msgspec.structs.replace(manifest.window, columns=columns))
    count = inputs_that_fit(wide)
    assert 20 < count < 32
    made = make_acceptance(
        wide, np.zeros((count, 1, 4096), np.float32), [0] * count, floor=0.5, class_floors=(0.0, 0.0, 0.0)
    )
    assert len(encode_acceptance(made)) <= limits.MAX_METADATA_BYTES
