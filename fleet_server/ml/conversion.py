"""Turns a trained network into a `.tflite` file, and reads from the file what a device must offer.

int8 is full integer with int8 input and output, scales per output channel. Operator versions are read
from the flatbuffer, because the `min_runtime_version` it carries is not reliable. A dynamic file has one scale
per dense layer: with scales per channel it would need FULLY_CONNECTED 12, which tflite-runtime 2.14 refuses.
"""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Tensor, Variant
from edgeops.artifact.operators import operators
from edgeops.errors import ArtifactError
from edgeops.model.runtime import load_interpreter, tensors_of

#: Order of the outputs of every network, as `recipes` builds them.
_ANSWER, _EMBEDDING = "output_0", "output_1"
_LOOPS = frozenset({"While", "StatelessWhile"})
#: How the converter tells which operations no runtime has.
_WITHOUT_KERNEL = re.compile(r"^(?:TF Select|Custom) ops: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A `.tflite` file and what it says about itself."""

    data: bytes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    #: Positions among `outputs`, whose order is the converter's.
    answer: int
    embedding: int | None
    #: Operator -> version.
    ops: dict[str, int]


def convert(tf: Any, network: Any, variant: Variant, *, calibration: NDArray[np.float32]) -> Converted:
    """Convert a network whose batch size is 1.

    Args:
        tf: TensorFlow.
        network: Keras model with outputs [answer, embedding], or [answer].
        variant: how weights are stored.
        calibration: preprocessed rows (n, *input shape) from which int8 takes the ranges of tensors.

    Raises:
        ArtifactError: the network has operations that TFLite does not, or not in this variant.
    """
    from tensorflow.lite.python.convert_phase import ConverterError

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    match variant:
        case Variant.FLOAT32:
            pass
        case Variant.FLOAT16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        case Variant.DYNAMIC:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True  # noqa: SLF001 - its only door
        case Variant.INT8:
            _refuse_loops(tf, network)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: _one_by_one(calibration)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
        case _:
            assert_never(variant)
    try:
        data = bytes(converter.convert())
    except (ConverterError, RuntimeError, ValueError) as error:
        raise ArtifactError(f"the network cannot be a {variant} file: {_words(error)}") from error
    return _inspect(data)


def _refuse_loops(tf: Any, network: Any) -> None:
    """The converter runs a network to see its ranges, and the process dies in a loop (TensorFlow 2.21)."""
    spec = tf.TensorSpec(network.inputs[0].shape, tf.float32)
    graph = tf.function(network).get_concrete_function(spec).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    if any(node.op in _LOOPS for node in nodes):
        raise ArtifactError(
            "the network cannot be an int8 file: nobody can measure ranges within its loop (operation WHILE); give "
            "layers such as LSTM and GRU unroll=True, or take other variants than int8"
        )


def _words(error: Exception) -> str:
    """The operations to blame, or the line with the error: a converter begins with all that it went through."""
    names = sorted({name.strip() for found in _WITHOUT_KERNEL.findall(str(error)) for name in found.split(",")})
    if names:
        return f"devices have no operation {', '.join(names)}; build the model of others"
    said = [line.strip() for line in str(error).splitlines() if "error:" in line] or str(error).splitlines()[:1]
    return said[0][:300] if said else type(error).__name__


def _one_by_one(rows: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for row in rows:
        yield [row[np.newaxis]]


def _inspect(data: bytes) -> Converted:
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    graph, signature = model.Subgraphs(0), model.SignatureDefs(0)
    outputs = [graph.Outputs(index) for index in range(graph.OutputsLength())]
    named = {
        signature.Outputs(index).Name().decode(): signature.Outputs(index).TensorIndex()
        for index in range(signature.OutputsLength())
    }
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(data)
        file.flush()
        inputs, tensors = tensors_of(load_interpreter(Path(file.name)))
    return Converted(
        data=data,
        inputs=inputs,
        outputs=tensors,
        answer=outputs.index(named[_ANSWER]),
        embedding=outputs.index(named[_EMBEDDING]) if _EMBEDDING in named else None,
        ops=operators(data),
    )
