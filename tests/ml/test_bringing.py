"""Models made elsewhere, with real files made here: what is converted, and what is refused with which advice."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import ChannelKind, Task, Variant
from edgeops.artifact.package import open_artifact
from edgeops.cli.saved_model import packed
from edgeops.errors import ArtifactError, DatasetError
from edgeops.model.golden import check_golden
from edgeops.model.model import Model
from fleet_server.datasets.snapshot import write_snapshot
from fleet_server.ml.bring import bring
from fleet_server.ml.frames import Built
from fleet_server.ml.framework import load_tensorflow
from tests.golden.tiny import CENTRES, LABELS, tiny_rows
from tests.imported import import_file
from tests.ml.brought import Place, write_rows

pytestmark = pytest.mark.slow

ROWS, CLASSES = tiny_rows(600, seed=3)


@pytest.fixture
def tf() -> Any:
    """Loaded once; each test has warnings of its own that it silences."""
    return load_tensorflow()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("brought"))


def nearest(tf: Any, *, ending: str = "softmax", batch: int | None = None) -> Any:
    """A network that answers with the nearest of three centres; its first output is an embedding."""
    layers = tf.keras.layers
    inputs = tf.keras.Input(batch_shape=(batch, 4), name="readings")
    embedding = layers.Dense(3, name="embedding")(inputs)
    answer = layers.Activation(ending, name="answer")(embedding)
    model = tf.keras.Model(inputs, [embedding, answer] if ending == "softmax" else answer)
    weights = 2 * CENTRES.T, -(CENTRES**2).sum(axis=1)
    model.get_layer("embedding").set_weights([one.astype(np.float32) for one in weights])
    return model


def saved(model: Any, folder: Path, name: str = "model.keras") -> Path:
    model.save(folder / name)
    return folder / name


def tflite(tf: Any, folder: Path, answer: Callable[[Any], Any], *shape: int | None, **settings: Any) -> Path:
    """A file of a function of one float32 tensor."""
    module = tf.Module()
    module.answer = tf.function(answer, input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])
    tf.saved_model.save(module, folder / "function", signatures=module.answer)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "function"))
    for name, value in settings.items():
        owner, _, last = name.rpartition("__")
        setattr(converter.target_spec if owner else converter, last, value)
    file = folder / "model.tflite"
    file.write_bytes(converter.convert())
    return file


def loaded(built: Built, variant: Variant) -> Model:
    (one,) = (one for one in built.variants if one.variant is variant)
    return Model.load(Path(one.file))


def refusal(place: Place, file: Path, **said: Any) -> str:
    before = set(place.folder.glob("made-*/*.tflite"))
    with pytest.raises((ArtifactError, DatasetError)) as error:
        place.bring(file, **said)
    assert set(place.folder.glob("made-*/*.tflite")) == before
    return str(error.value)


def test_a_keras_model_becomes_its_variants_with_all_that_belongs_to_them(
    tf: Any, place: Place, tmp_path: Path
) -> None:
    built = place.bring(saved(nearest(tf), tmp_path), answer=1, embedding=0)
    assert [one.variant for one in built.variants] == [Variant.FLOAT32, Variant.INT8]
    assert built.warnings == ()
    for one in built.variants:
        assert one.metrics["accuracy"] > 0.97
        artifact, model = open_artifact(Path(one.file)), loaded(built, one.variant)
        assert artifact.manifest.output.labels == LABELS
        assert artifact.manifest.output.embedding is not None
        assert ChannelKind.PROJECTION in {channel.kind for channel in artifact.manifest.channels}
        assert artifact.manifest.inputs[0].shape == (1, 4)
        assert check_golden(model, model.golden).ok
        assert model.reference is not None
        assert "a person brought the file" in artifact.card
        assert (artifact.manifest.lineage.calibration is not None) == (one.variant is Variant.INT8)
        assert ("int8 took its ranges from" in artifact.card) == (one.variant is Variant.INT8)


def test_the_same_file_gives_the_same_bytes(tf: Any, place: Place, tmp_path: Path) -> None:
    file = saved(nearest(tf), tmp_path)
    first, second = (place.bring(file, answer=1) for _ in range(2))
    for one, other in zip(first.variants, second.variants, strict=True):
        assert Path(one.file).read_bytes() == Path(other.file).read_bytes()


def test_logits_get_a_softmax_and_it_is_told(tf: Any, place: Place, tmp_path: Path) -> None:
    built = place.bring(saved(nearest(tf, ending="linear"), tmp_path))
    assert built.warnings[0] == "the answers were no probabilities; a softmax was put behind them"
    prediction = loaded(built, Variant.FLOAT32).predict(ROWS[:1])
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.embedding is None


def test_a_saved_model_of_an_open_batch_is_converted(tf: Any, place: Place, tmp_path: Path) -> None:
    nearest(tf, ending="linear").export(tmp_path / "model", verbose=False)
    with packed(tmp_path / "model") as file:
        built = place.bring(file)
    assert built.variants[1].metrics["accuracy"] > 0.97
    assert loaded(built, Variant.INT8).manifest.inputs[0].shape == (1, 4)


def test_labels_may_stand_in_another_order_than_the_snapshots(tf: Any, place: Place, tmp_path: Path) -> None:
    model = nearest(tf, ending="linear")
    kernel, bias = model.get_layer("embedding").get_weights()
    model.get_layer("embedding").set_weights([kernel[:, ::-1], bias[::-1]])
    built = place.bring(saved(model, tmp_path), labels=LABELS[::-1])
    assert built.variants[0].metrics["accuracy"] > 0.97
    assert "labels do not" not in str(built.warnings)


def test_labels_that_the_snapshot_has_no_row_of_are_told(tf: Any, place: Place, tmp_path: Path) -> None:
    layers = tf.keras.layers
    model = tf.keras.Sequential([tf.keras.Input((4,)), layers.Dense(4)])
    kernel, bias = nearest(tf).get_layer("embedding").get_weights()
    model.layers[0].set_weights([np.c_[kernel, np.zeros(4)], np.r_[bias, -1e3]])
    built = place.bring(saved(model, tmp_path), labels=(*LABELS, "violet"))
    assert "the snapshot has no row of violet: what these answers are worth is not known" in built.warnings
    assert built.variants[0].metrics["accuracy"] > 0.97


def test_one_probability_of_two_labels_becomes_two(tf: Any, place: Place, tmp_path: Path) -> None:
    two = write_rows(tmp_path, ROWS, np.where(CLASSES == 2, "blue", "other"))
    kernel = (CENTRES[1] - CENTRES[2]).reshape(4, 1)
    for ending, told in (("sigmoid", "the answer was one probability"), ("linear", "the answer was one number")):
        model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(1, activation=ending)])
        model.layers[0].set_weights([kernel, np.full(1, 2.5, np.float32)])
        built = place.bring(saved(model, tmp_path), snapshot=two, labels=("blue", "other"))
        assert told in built.warnings[0]
        assert built.variants[1].metrics["accuracy"] > 0.9


def test_a_regression_answers_in_its_units(tf: Any, place: Place, tmp_path: Path) -> None:
    numbers = (ROWS @ np.array([1.0, 2.0, 3.0, 4.0]) + 7).astype(np.float32)
    snapshot = write_rows(tmp_path, ROWS, numbers, task="regression", units="ppm")
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(1)])
    model.layers[0].set_weights([np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([7.0])])
    built = place.bring(saved(model, tmp_path), snapshot=snapshot, labels=())
    assert built.variants[0].metrics["mae"] < 1e-4
    assert loaded(built, Variant.INT8).manifest.output.units == "ppm"


@pytest.mark.parametrize(("threshold", "alarms"), [(None, 0.5), (1e6, 0.0)])
def test_a_detector_has_a_threshold_by_normal_rows_or_by_a_person(
    tf: Any, place: Place, tmp_path: Path, threshold: float | None, alarms: float
) -> None:
    is_far = np.arange(len(ROWS)) % 2
    near = np.random.default_rng(1).normal(size=ROWS.shape)
    snapshot = write_rows(tmp_path, (near + 9 * is_far[:, None]).astype(np.float32), is_far, task="anomaly")
    inputs = tf.keras.Input((4,))
    score = tf.keras.layers.Dense(1, kernel_initializer="ones")(tf.keras.layers.Multiply()([inputs, inputs]))
    file = saved(tf.keras.Model(inputs, score), tmp_path)
    built = place.bring(file, snapshot=snapshot, labels=(), threshold=threshold)
    assert built.variants[0].metrics["alarm-rate"] == pytest.approx(alarms, abs=0.05)
    assert loaded(built, Variant.FLOAT32).manifest.task is Task.ANOMALY


def test_windows_are_found_in_the_shape(tf: Any, place: Place, tmp_path: Path) -> None:
    values = np.repeat(CENTRES, 240, axis=0) + np.random.default_rng(4).normal(0, 0.5, (720, 4))
    targets = np.repeat(np.array(LABELS), 240)
    times = np.tile(np.arange(240) // 80, 3)
    groups = np.char.add("g", times.astype(str))
    table = tmp_path / "signals.npz"
    np.savez(table, label=targets, g=groups, **{f"x{n + 1}": values[:, n].astype(np.float32) for n in range(4)})
    snapshot = tmp_path / "signals.snapshot"
    features = ("x1", "x2", "x3", "x4")
    imported = import_file(table, file_name="signals.npz", label="label", group="g", split="group", features=features)
    write_snapshot(imported, snapshot)
    layers = tf.keras.layers
    open_rows = tf.keras.Sequential([tf.keras.Input((None, 4)), layers.GlobalAveragePooling1D(), layers.Dense(3)])
    open_rows.layers[1].set_weights(nearest(tf).get_layer("embedding").get_weights())
    file = saved(open_rows, tmp_path)
    assert "say how many rows a window has" in refusal(place, file, snapshot=snapshot)
    built = place.bring(file, snapshot=snapshot, window=16, stride=8)
    window = loaded(built, Variant.INT8).manifest.window
    assert (window.rows, window.stride) == (16, 8)
    assert built.variants[0].metrics["accuracy"] > 0.9


def test_images_are_read_as_they_were_imported(tf: Any, place: Place, tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    classes = np.arange(300) % 2
    images = random.uniform(0, 60, (300, 6, 8, 3)) + 120 * classes[:, None, None, None]
    table, snapshot = tmp_path / "images.npz", tmp_path / "images.snapshot"
    np.savez(table, X=images.astype(np.float32), y=np.array(["dark", "light"])[classes])
    write_snapshot(import_file(table, file_name="images.npz", label="y"), snapshot)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [tf.keras.Input((None, None, 3)), layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid")]
    )
    model.layers[1].set_weights([np.full((3, 1), 2.0), np.zeros(1)])
    built = place.bring(saved(model, tmp_path), snapshot=snapshot, labels=("dark", "light"), standardize=True)
    manifest = loaded(built, Variant.INT8).manifest
    assert manifest.inputs[0].shape == (1, 6, 8, 3)
    assert len(manifest.preprocess.multiply) == 1
    assert manifest.channels[0].kind is ChannelKind.BRIGHTNESS
    assert built.variants[1].metrics["accuracy"] == 1.0


def test_preprocessing_that_is_said_or_computed_is_part_of_the_model(tf: Any, place: Place, tmp_path: Path) -> None:
    wild = write_rows(tmp_path, ROWS * 1000 + 5000, np.array(LABELS)[CLASSES])
    file = saved(nearest(tf, ending="linear"), tmp_path)
    told = place.bring(file, snapshot=wild, multiply=(0.001,), add=(-5.0,))
    assert told.variants[0].metrics["accuracy"] > 0.97
    assert place.bring(file, snapshot=wild).variants[0].metrics["accuracy"] < 0.9
    manifest = loaded(place.bring(file, snapshot=wild, standardize=True), Variant.FLOAT32).manifest
    assert len(manifest.preprocess.multiply) == 4


# -- what is refused ------------------------------------------------------------------


def test_answers_that_are_not_finite_are_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    model = nearest(tf, ending="linear")
    model.get_layer("embedding").set_weights([np.full((4, 3), np.nan), np.zeros(3)])
    words = refusal(place, saved(model, tmp_path))
    assert re.search(r"the model answers nan to 200 of 200 training rows; is a preprocessing missing", words)


def test_labels_that_do_not_match_the_outputs_are_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    file = saved(nearest(tf, ending="linear"), tmp_path)
    assert "one value for each of 4 labels; the outputs are 0: (1, 3). Do the labels belong" in refusal(
        place, file, labels=(*LABELS, "violet")
    )
    assert "does not know 'blue' of the snapshot's classes" in refusal(place, file, labels=("red", "green", "cyan"))


def test_columns_that_do_not_match_the_input_are_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    model = tf.keras.Sequential([tf.keras.Input((7,)), tf.keras.layers.Dense(3)])
    assert "input has the shape (1, 7), the snapshot has rows of 4 columns" in refusal(place, saved(model, tmp_path))


def test_several_outputs_that_could_be_the_answer_are_told(tf: Any, place: Place, tmp_path: Path) -> None:
    words = refusal(place, saved(nearest(tf), tmp_path))
    assert "several outputs could be the answer" in words
    assert "0: (1, 3), 1: (1, 3); say which one" in words


def test_two_inputs_are_refused_by_name(tf: Any, place: Place, tmp_path: Path) -> None:
    inputs = [tf.keras.Input((4,), name=name) for name in ("left", "right")]
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(tf.keras.layers.Add()(inputs)))
    assert re.search(r"2 inputs \(left .*, right .*\); models with one input", refusal(place, saved(model, tmp_path)))


def test_inputs_that_are_no_readings_are_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    inputs = tf.keras.Input((4,), dtype="int32", name="words")
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(3)(tf.keras.layers.Embedding(9, 2)(inputs)[:, 0]))
    assert "the input words is int32" in refusal(place, saved(model, tmp_path))


def test_code_in_a_model_is_not_run(tf: Any, place: Place, tmp_path: Path) -> None:
    layers = tf.keras.layers
    code = tf.keras.Sequential([tf.keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(3)])
    assert "a Lambda layer, which is code and is not run here" in refusal(place, saved(code, tmp_path))


def test_a_class_of_ones_own_is_refused_by_name(tf: Any, place: Place, tmp_path: Path) -> None:
    class Twice(tf.keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    model = tf.keras.Sequential([tf.keras.Input((4,)), Twice(), tf.keras.layers.Dense(3)])
    words = refusal(place, saved(model, tmp_path))
    assert "the model needs class 'Twice', which Keras does not have: code of one's own is not run here" in words


def test_a_keras_file_with_damaged_weights_is_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    import zipfile

    whole = zipfile.ZipFile(saved(nearest(tf), tmp_path))
    damaged = tmp_path / "damaged.keras"
    with zipfile.ZipFile(damaged, "w") as archive:
        archive.writestr("config.json", whole.read("config.json"))
        archive.writestr("model.weights.h5", whole.read("model.weights.h5")[:200])
    assert "Keras cannot open the model" in refusal(place, damaged)


def bring_function(tf: Any, place: Place, folder: Path, answer: Callable[[Any], Any], *, signature: bool = True) -> str:
    module = tf.Module()
    module.answer = tf.function(answer, input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    module.answer.get_concrete_function()
    tf.saved_model.save(module, folder / "own", signatures=module.answer if signature else {})
    with packed(folder / "own") as file:
        return refusal(place, file)


def test_a_saved_model_without_a_signature_is_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    words = bring_function(tf, place, tmp_path, lambda x: x @ tf.ones((4, 3)), signature=False)
    assert "the SavedModel has no signature" in words


def test_a_saved_model_that_reaches_for_files_is_refused_before_it_is_opened(
    tf: Any, place: Place, tmp_path: Path
) -> None:
    def answer(x: Any) -> Any:
        tf.io.write_file(str(tmp_path / "taken"), "everything")
        return x @ tf.ones((4, 3))

    assert "reach beyond its tensors: WriteFile" in bring_function(tf, place, tmp_path, answer)
    assert not (tmp_path / "taken").exists()


def test_operations_without_a_kernel_are_named(tf: Any, place: Place, tmp_path: Path) -> None:
    words = bring_function(tf, place, tmp_path, lambda x: tf.math.erfinv(x / 10) @ tf.ones((4, 3)))
    assert "devices have no operation Erfinv; build the model of others" in words


def test_a_loop_has_no_int8_file_and_others(tf: Any, place: Place, tmp_path: Path) -> None:
    layers = tf.keras.layers
    inputs = tf.keras.Input((4,))
    steps = layers.LSTM(2)(layers.Reshape((4, 1))(inputs))
    file = tmp_path / "lstm.keras"
    tf.keras.Model(inputs, layers.Dense(3, activation="softmax")(steps)).save(file)
    with pytest.raises(
        ArtifactError, match=r"within its loop \(operation WHILE\); give layers such as LSTM and GRU unroll=True"
    ):
        place.bring(file)
    floats = msgspec.structs.replace(place.task(file), variants=(Variant.FLOAT32,))
    assert [one.variant for one in bring(floats, lambda *_: None).variants] == [Variant.FLOAT32]


def probabilities(tf: Any) -> Callable[[Any], Any]:
    kernel, bias = nearest(tf).get_layer("embedding").get_weights()
    return lambda x: tf.nn.softmax(x @ kernel + bias)


def test_a_tflite_of_an_open_batch_stays_as_it_is(tf: Any, place: Place, tmp_path: Path) -> None:
    file = tflite(tf, tmp_path, probabilities(tf), None, 4)
    built = place.bring(file)
    assert [one.variant for one in built.variants] == [Variant.FLOAT32]
    assert built.variants[0].tflite_bytes == file.stat().st_size
    assert built.variants[0].metrics["accuracy"] > 0.97


def test_a_tflite_whose_weights_alone_are_quantized_is_dynamic(tf: Any, place: Place, tmp_path: Path) -> None:
    wide = np.random.default_rng(2).normal(size=(4, 2000)).astype(np.float32)
    back = np.linalg.pinv(wide).astype(np.float32)
    answer = probabilities(tf)
    file = tflite(tf, tmp_path, lambda x: answer((x @ wide) @ back), 1, 4, optimizations=[tf.lite.Optimize.DEFAULT])
    assert place.bring(file).variants[0].variant is Variant.DYNAMIC


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((32, 4), "it reads 32 inputs at once; convert it with a batch of 1"),
        ((1, 9), "the snapshot has rows of 4 columns"),
    ],
)
def test_a_tflite_of_another_shape_is_refused(
    tf: Any, place: Place, tmp_path: Path, shape: tuple[int, ...], words: str
) -> None:
    file = tflite(tf, tmp_path, lambda x: tf.nn.softmax(x[:1, :3]), *shape)
    assert words in refusal(place, file)


def test_a_tflite_of_logits_is_refused_with_advice(tf: Any, place: Place, tmp_path: Path) -> None:
    words = refusal(place, tflite(tf, tmp_path, lambda x: x @ np.ones((4, 3), np.float32), 1, 4))
    assert "the answers are no probabilities" in words
    assert "put a softmax behind the model and convert it again, or bring the .keras" in words


def test_operations_of_tensorflow_in_a_tflite_are_named(tf: Any, place: Place, tmp_path: Path) -> None:
    ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]

    def answer(x: Any) -> Any:
        return tf.nn.softmax(tf.reshape(tf.linalg.cholesky(tf.reshape(x, (2, 2))), (1, 4))[:, :3])

    file = tflite(tf, tmp_path, answer, 1, 4, target_spec__supported_ops=ops)
    assert "operations that devices do not have: FlexCholesky; convert it" in refusal(place, file)


def test_custom_operations_of_a_tflite_are_named(tf: Any, place: Place, tmp_path: Path) -> None:
    file = tflite(tf, tmp_path, lambda x: tf.nn.softmax(tf.math.erfinv(x)[:, :3]), 1, 4, allow_custom_ops=True)
    assert "operations that devices do not have: Erfinv; convert it" in refusal(place, file)


def test_sixteen_bits_at_the_ends_of_a_tflite_are_refused(tf: Any, place: Place, tmp_path: Path) -> None:
    wide = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    file = tflite(
        tf, tmp_path, probabilities(tf), 1, 4, optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([row[np.newaxis]] for row in ROWS[:50]), target_spec__supported_ops=wide,
        inference_input_type=tf.int16, inference_output_type=tf.int16,
    )  # fmt: skip
    assert "is int16; float32, int8, uint8 are supported" in refusal(place, file)


def test_two_inputs_of_a_tflite_are_refused_by_name(tf: Any, place: Place, tmp_path: Path) -> None:
    pair = tf.keras.Model(
        inputs := [tf.keras.Input(batch_shape=(1, 4), name=name) for name in ("left", "right")],
        tf.keras.layers.Softmax()(tf.keras.layers.Add()(inputs)[:, :3]),
    )
    file = tmp_path / "pair.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(pair).convert())
    assert "2 inputs" in refusal(place, file)
