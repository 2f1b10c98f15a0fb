"""A real runtime on real files: loading, answering, golden vectors."""

import sys

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import MissingPolicy, Preprocess
from edgeops.artifact.package import package
from edgeops.errors import ArtifactError, InputError, PlatformError
from edgeops.model.golden import MAX_VECTORS, check_golden, make_golden
from edgeops.model.model import Model
from edgeops.model.runtime import load_interpreter, runtime_facts
from edgeops.model.tolerance import tolerance
from tests.golden.tiny import tiny_artifact, tiny_manifest, tiny_rows, tiny_tflite

VARIANTS = [("int8", False), ("int8", True), ("float32", False), ("float32", True)]


@pytest.fixture
def load(tmp_path):
    def _load(data):
        path = tmp_path / "model.tflite"
        path.write_bytes(data)
        return Model.load(path)

    return _load


@pytest.mark.parametrize(("variant", "embedding"), VARIANTS)
def test_every_variant_answers_well(load, variant, embedding):
    model = load(tiny_artifact(variant=variant, embedding=embedding))
    rows, classes = tiny_rows(300)
    predictions = [model.predict(row[np.newaxis]) for row in rows]
    assert np.mean([prediction.answer == truth for prediction, truth in zip(predictions, classes, strict=True)]) > 0.97
    first = predictions[0]
    assert first.channels.shape == (len(model.manifest.channels),)
    assert first.channels[:4].tolist() == rows[0].tolist()
    assert first.probabilities[int(first.answer)] == first.confidence
    assert (first.embedding is not None) == embedding


def test_two_models_loaded_from_one_file_answer_bit_for_bit_the_same(load):
    data = tiny_artifact(embedding=True)
    first, second = load(data), load(data)
    for row in tiny_rows(50)[0]:
        one, other = first.predict(row[np.newaxis]), second.predict(row[np.newaxis])
        assert (one.answer, one.confidence) == (other.answer, other.confidence)
        assert one.channels.tobytes() == other.channels.tobytes()
        assert one.embedding.tobytes() == other.embedding.tobytes()


def test_a_prediction_stays_as_it_was_when_the_next_is_made(load):
    model = load(tiny_artifact(embedding=True, variant="float32"))
    rows, _ = tiny_rows(2)
    first = model.predict(rows[:1])
    before = [array.tobytes() for array in (first.probabilities, first.channels, first.embedding)]
    model.predict(rows[1:])
    assert [array.tobytes() for array in (first.probabilities, first.channels, first.embedding)] == before


def test_what_a_model_refuses_still_shows_its_readings(load):
    row = np.array([[np.nan, 2, -2, 1]], np.float32)
    model = load(tiny_artifact(missing=MissingPolicy.REFUSE))
    told = dict(zip([channel.name for channel in model.manifest.channels], model.unanswered(row), strict=True))
    assert [name for name, value in told.items() if np.isfinite(value)] == ["x2", "x3", "x4"]
    assert (told["x2"], told["x3"], told["x4"]) == (2, -2, 1)


def test_missing_values_follow_the_manifests_policy(load):
    row = np.array([[np.nan, 2, -2, 1]], np.float32)
    assert load(tiny_artifact()).predict(row).answer == 1.0
    with pytest.raises(InputError, match="x1"):
        load(tiny_artifact(missing=MissingPolicy.REFUSE)).predict(row)


def test_a_window_of_another_shape_is_refused(load):
    with pytest.raises(InputError, match="rows, columns"):
        load(tiny_artifact()).predict(np.zeros((2, 4), np.float32))


def test_the_reference_profile_describes_the_models_channels(load):
    model = load(tiny_artifact())
    assert model.reference.names == tuple(channel.name for channel in model.manifest.channels)
    assert model.reference.summary().rows == 500


@pytest.mark.parametrize(("variant", "embedding"), VARIANTS)
def test_golden_vectors_are_answered(load, variant, embedding):
    model = load(tiny_artifact(variant=variant, embedding=embedding))
    verdict = check_golden(model, model.golden)
    assert verdict.ok, verdict.detail
    assert verdict.detail == "8 golden vectors answered, worst difference 0"


@pytest.mark.parametrize("variant", ["int8", "float32"])
def test_a_model_that_answers_something_else_fails_its_golden_vectors(load, variant):
    model = load(tiny_artifact(variant=variant))
    golden = model.golden
    other = load(tiny_artifact(variant=variant, preprocess=Preprocess(multiply=(-1.0,))))
    verdict = check_golden(other, golden)
    assert not verdict.ok
    assert "golden vector 0" in verdict.detail


def test_one_step_of_an_integer_output_is_tolerated_and_two_are_not(load):
    model = load(tiny_artifact())
    window = np.array([[0.6, 0.5, -0.4, 0.2]], np.float32)
    stored = msgspec.msgpack.decode(make_golden(model, [window]))

    def moved(steps):
        codes = np.frombuffer(stored[3][0], np.int8).astype(int)
        codes += np.where(codes > 0, -steps, steps)
        return msgspec.msgpack.encode([*stored[:3], [codes.astype(np.int8).tobytes()]])

    assert check_golden(model, moved(1)).ok
    assert check_golden(model, moved(1)).detail.endswith("worst difference 1")
    assert not check_golden(model, moved(2)).ok


def test_tolerances_belong_to_a_runtime():
    integer, real = np.dtype(np.int8), np.dtype(np.float32)
    assert (tolerance(integer, "litert"), tolerance(integer, "tflite-runtime")) == (1, 48)
    assert tolerance(real, "litert") == 1e-5


def test_a_tie_among_stored_outputs_demands_no_class(load):
    model = load(tiny_artifact())
    window = np.array([[0.6, 0.5, -0.4, 0.2]], np.float32)
    head, (output,) = msgspec.msgpack.decode(make_golden(model, [window]))[:3], model.outputs(window)
    codes = output.reshape(-1).astype(int)
    first, second = np.argsort(codes)[[-1, -2]]
    codes[second] = codes[first] - 1
    close = msgspec.msgpack.encode([*head, [codes.astype(np.int8).tobytes()]])
    assert "class" not in check_golden(model, close).detail


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"\x94\x01\x01\xc4\x04abcd\x91\xc4\x03abc", b"\x94\x02\x01\xc4\x00\x90"]
)
def test_damaged_golden_vectors_are_an_artifact_error(load, damage):
    with pytest.raises(ArtifactError, match="golden vectors"):
        check_golden(load(tiny_artifact()), damage)


def test_the_number_of_golden_vectors_is_bounded(load):
    model = load(tiny_artifact())
    for count in (0, MAX_VECTORS + 1):
        with pytest.raises(ArtifactError, match="golden vectors; give 1 to"):
            make_golden(model, list(np.zeros((count, 1, 4), np.float32)))


def test_a_manifest_that_contradicts_its_file_is_refused(load):
    data = package(tiny_tflite("int8"), tiny_manifest(variant="float32"), reference=b"", golden=b"", card="")
    with pytest.raises(ArtifactError, match="input 0 is"):
        load(data)


def test_a_reference_of_another_model_is_refused(load, tmp_path):
    other = load(tiny_artifact(embedding=True))
    reference = msgspec.msgpack.encode(other.reference)
    data = package(tiny_tflite(), tiny_manifest(), reference=reference, golden=b"", card="")
    with pytest.raises(ArtifactError, match="the reference profile has channels"):
        load(data)


def test_a_file_that_the_runtime_refuses_is_an_artifact_error(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_tflite()[:100] + bytes(2000))
    with pytest.raises(ArtifactError, match="does not load"):
        load_interpreter(path)


def test_tensors_are_described_as_a_manifest_names_them():
    manifest = tiny_manifest()
    (tensor,) = manifest.inputs
    assert (tensor.shape, tensor.dtype) == ((1, 4), "int8")
    assert tensor.scale > 0


def test_the_runtime_is_named():
    name, version = runtime_facts()
    assert name in {"litert", "tflite-runtime"}
    assert version[0].isdigit()


def test_without_a_runtime_the_error_says_what_to_run(monkeypatch):
    for module in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"{module}.interpreter", raising=False)
    with pytest.raises(PlatformError, match=r"Python 3\.\d+.*: .*(run `pip install|use x86_64)"):
        runtime_facts()
