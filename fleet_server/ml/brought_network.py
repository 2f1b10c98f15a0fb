"""A `.keras` or SavedModel that a person brings, as a network that `conversion` takes: one input, a batch of one.

Code that comes with a model is never run: Lambda layers and classes of one's own are refused, and so are operations of
a SavedModel that reach beyond its tensors. Which output means what is decided elsewhere.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never

from edgeops.errors import ArtifactError
from fleet_server.ml.brought_file import BroughtFile, Kind

_USUAL_SIGNATURE = "serving_default"
#: What a graph keeps for itself.
_INTERNAL = "__saved_model"
_MOST_WORDS = 300
#: How Keras tells what it lacks.
_OWN_CODE = re.compile(r"Could not locate ((?:class|function) '[^']+')")
#: Operations that read or write files, speak to others or run Python, by their names in TensorFlow. What only
#: restores a model's own variables (RestoreV2 and what goes with it) is none of them.
_REACHING_OUT = re.compile(
    r"(Read|Write|Matching|Text)File|PyFunc|PyCall|Dataset|Iterator|Reader|Record|Rpc|Grpc|(Send|Recv)$|Sql|Lmdb|Print"
    r"|Debug|Summary|Sleep|Abort|Dump|Remote|Distributed|ImmutableConst|CandidateSampler|LoadAndRemap|Vocab|TRT|TPU|Tpu"
)


class Ending(StrEnum):
    """What is put behind an answer so that it becomes probabilities."""

    #: Nothing.
    NONE = "none"
    #: Of logits.
    SOFTMAX = "softmax"
    #: [1 - p, p] of the probability of the second of two classes; of a logit its logistic function first.
    PAIR = "pair"
    LOGISTIC_PAIR = "logistic-pair"


class BroughtNetwork:
    """A network as it came; `build` makes one that is converted.

    Attributes:
        input_shape: with the batch; None = any.
        names: of the outputs, in order.
    """

    input_shape: tuple[int | None, ...]
    names: tuple[str, ...]

    def __init__(self, tf: Any, file: BroughtFile) -> None:
        """Open it.

        Raises:
            ArtifactError: it is damaged, holds code, or has not exactly one input of numbers.
        """
        self._tf = tf
        if file.kind is Kind.KERAS:
            self._layer, inputs, self.names = _keras(tf, file.path)
        else:
            self._layer, inputs, self.names = _saved_model(tf, file.path)
        if len(inputs) != 1:
            told = ", ".join(f"{name} {shape}" for name, shape, _ in inputs)
            raise ArtifactError(f"the model has {len(inputs)} inputs ({told}); models with one input are supported")
        ((name, self.input_shape, dtype),) = inputs
        if dtype != "float32":
            raise ArtifactError(f"the input {name} is {dtype}; a network that is converted reads float32")

    def output_shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Of all outputs, for an input of this shape.

        Raises:
            ArtifactError: the network does not take it, or an output has no fixed shape.
        """
        shapes = [tuple(one.shape) for one in self._outputs(self._input(shape))]
        for name, one in zip(self.names, shapes, strict=True):
            if None in one:
                raise ArtifactError(f"the output {name} has the shape {one}, which depends on the input; fix it")
        return shapes

    def build(self, shape: tuple[int, ...], *, answer: int, embedding: int | None, ending: Ending) -> Any:
        """A Keras model with outputs [answer, embedding], or [answer] where there is no embedding.

        Raises:
            ArtifactError: the network does not take this shape.
        """
        reading = self._input(shape)
        outputs = self._outputs(reading)
        answers = [_ended(self._tf, outputs[answer], ending)]
        if embedding is not None:
            answers.append(outputs[embedding])
        return self._tf.keras.Model(reading, answers, name="brought")

    def _input(self, shape: tuple[int, ...]) -> Any:
        return self._tf.keras.Input(batch_shape=shape, name="input")

    def _outputs(self, reading: Any) -> list[Any]:
        try:
            return list(self._tf.nest.flatten(self._layer(reading)))
        except (ValueError, TypeError, self._tf.errors.OpError) as error:
            raise ArtifactError(
                f"the model does not take an input of {tuple(reading.shape)}: {_short(error)}"
            ) from error


#: Name, shape and type of an input.
_Input = tuple[str, tuple[int | None, ...], str]


def _keras(tf: Any, path: Path) -> tuple[Any, Sequence[_Input], tuple[str, ...]]:
    try:
        model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # the border to a stranger's file: Keras and h5py promise nothing of what they raise
        if "Lambda" in str(error):
            raise ArtifactError(
                "the model has a Lambda layer, which is code and is not run here; replace it by a layer of Keras, such "
                "as Rescaling, and save it again"
            ) from error
        if own := _OWN_CODE.search(str(error)):
            raise ArtifactError(
                f"the model needs {own[1]}, which Keras does not have: code of one's own is not run here; build the "
                "model of layers of Keras"
            ) from error
        raise ArtifactError(f"Keras cannot open the model: {_short(error)}") from error
    if not getattr(model, "inputs", None):
        raise ArtifactError("the model was never built: nothing says what it reads; call it once, and save it again")
    inputs = [(one.name, tuple(one.shape), str(one.dtype)) for one in model.inputs]
    return model, inputs, tuple(one.name for one in model.outputs)


def _saved_model(tf: Any, folder: Path) -> tuple[Any, Sequence[_Input], tuple[str, ...]]:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    document = SavedModel()
    try:
        document.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf's own DecodeError, by whichever of its implementations
        raise ArtifactError(f"saved_model.pb is damaged: {_short(error)}") from error
    for graph in document.meta_graphs:
        _refuse_reaching_out(graph.graph_def)
    signatures = {
        name: signature
        for graph in document.meta_graphs
        for name, signature in graph.signature_def.items()
        if not name.startswith(_INTERNAL)
    }
    if not signatures:
        raise ArtifactError(
            "the SavedModel has no signature, so nothing says what it reads and answers; save it again with "
            "model.export(folder), or tf.saved_model.save(model, folder, signatures=...)"
        )
    name = _USUAL_SIGNATURE if _USUAL_SIGNATURE in signatures else next(iter(signatures))
    if name != _USUAL_SIGNATURE and len(signatures) > 1:
        raise ArtifactError(
            f"the SavedModel has the signatures {', '.join(sorted(signatures))} and none is called {_USUAL_SIGNATURE}; "
            "save it with one"
        )
    signature = signatures[name]
    inputs = [(key, _shape(one.tensor_shape), tf.as_dtype(one.dtype).name) for key, one in signature.inputs.items()]
    try:
        layer = tf.keras.layers.TFSMLayer(str(folder), call_endpoint=name, name="brought-graph")
    except Exception as error:  # as for Keras
        raise ArtifactError(f"TensorFlow cannot open the SavedModel: {_short(error)}") from error
    return layer, inputs, tuple(sorted(signature.outputs))


def _shape(proto: Any) -> tuple[int | None, ...]:
    return tuple(None if one.size < 0 else int(one.size) for one in proto.dim)


def _refuse_reaching_out(graph: Any) -> None:
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    reaching = sorted({node.op for node in nodes if _REACHING_OUT.search(node.op)})
    if reaching:
        raise ArtifactError(
            f"the SavedModel has operations that reach beyond its tensors: {', '.join(reaching[:8])}; export the model "
            "without them"
        )


def _ended(tf: Any, answer: Any, ending: Ending) -> Any:
    layers = tf.keras.layers
    match ending:
        case Ending.NONE:
            return answer
        case Ending.SOFTMAX:
            return layers.Softmax(name="probabilities")(answer)
        case Ending.PAIR:
            return layers.Concatenate(name="probabilities")([1.0 - answer, answer])
        case Ending.LOGISTIC_PAIR:
            return _ended(tf, layers.Activation("sigmoid", name="probability")(answer), Ending.PAIR)
        case _:
            assert_never(ending)


def _short(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_MOST_WORDS]
