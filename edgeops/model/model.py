"""`Model.predict`, the one way to an answer: training's judge, probing, the agent's commands and its loop all call it.

A model is loaded from an artifact whose digest and trust were checked before. It belongs to one thread and keeps no
history; sources, windows and sketches stand around it.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from edgeops.artifact.manifest import Manifest, Tensor
from edgeops.artifact.package import Artifact, open_artifact
from edgeops.errors import ArtifactError, ConfigError
from edgeops.model.channels import Channels
from edgeops.model.clock import ClockColumns
from edgeops.model.postprocess import Prediction, answerer, dequantizer
from edgeops.model.preprocess import Preprocessor
from edgeops.model.runtime import Interpreter, load_interpreter, tensors_of
from edgeops.sketch.reference import ReferenceProfile, decode_reference

_QUANTIZATION_TOLERANCE = 1e-6


class Model:
    """A loaded artifact; make one with `Model.load`."""

    def __init__(self, artifact: Artifact, interpreter: Interpreter) -> None:
        """Check the manifest against the file and fold all constants.

        Raises:
            ArtifactError: manifest and file disagree, or ask for what is not supported.
        """
        manifest = artifact.manifest
        _check_tensors(interpreter, manifest)
        self.manifest = manifest
        #: None while the profile is being made: it describes what the model answers.
        self.reference = _reference(artifact)
        self.golden = artifact.golden
        #: What is put beside the measured columns of a row before it is answered; None = nothing.
        self.clock = _clock(manifest)
        output = manifest.output
        outputs = [detail["index"] for detail in interpreter.get_output_details()]
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._outputs = outputs
        self._answer_index = outputs[output.answer]
        self._embedding_index = outputs[output.embedding or 0]
        self._prepare = Preprocessor(manifest.preprocess, manifest.window, manifest.inputs[0], missing=manifest.missing)
        self._real_answer = dequantizer(manifest.outputs[output.answer])
        self._judge = answerer(manifest)
        embedding = None if output.embedding is None else manifest.outputs[output.embedding]
        self._real_embedding = None if embedding is None else dequantizer(embedding)
        self._channels = Channels(manifest, embedding_size=0 if embedding is None else int(np.prod(embedding.shape)))

    @classmethod
    def load(cls, path: Path, *, threads: int = 1) -> Self:
        """Open an artifact and the runtime.

        Raises:
            ArtifactError: the artifact is damaged, the runtime refuses it, or its parts disagree.
            PlatformError: no runtime is installed.
        """
        artifact = open_artifact(path)
        return cls(artifact, load_interpreter(path, threads=threads))

    def predict(self, window: NDArray[np.float32]) -> Prediction:
        """Answer one window, float32 (rows, columns) of raw readings.

        Raises:
            InputError: the window's shape is wrong, or a value is missing and the model refuses that.
        """
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, self._prepare(window))
        interpreter.invoke()
        answer = self._judge(self._real_answer(interpreter.get_tensor(self._answer_index)))
        embedding = None
        if self._real_embedding is not None:
            embedding = self._real_embedding(interpreter.get_tensor(self._embedding_index))
        channels = self._channels(
            window, embedding, answer=answer.answer, confidence=answer.confidence, margin=answer.margin
        )
        return Prediction(
            answer.answer, answer.confidence, answer.margin, answer.probabilities, channels, embedding, answer.alarm
        )

    def unanswered(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """The channels of a window, float32 (rows, columns), that was not answered: its readings show, the rest is NaN.

        So that a sensor that went dead is seen although the model refuses what it sends.
        """
        return self._channels(window, None, answer=np.nan, confidence=np.nan, margin=np.nan)

    def outputs(self, window: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        """The stored output tensors for one window, in the file's order: what golden vectors compare.

        Raises:
            InputError: as `predict`.
        """
        self._interpreter.set_tensor(self._input, self._prepare(window))
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(index) for index in self._outputs)

    def close(self) -> None:
        """Give the interpreter's memory back; the model answers no more. Harmless to repeat."""
        self.__dict__.pop("_interpreter", None)


def _clock(manifest: Manifest) -> ClockColumns | None:
    window = manifest.window
    if window.time is None or not window.clock:
        return None
    try:
        return ClockColumns(window.clock, zone=window.time.zone)
    except ConfigError as error:
        raise ArtifactError(str(error)) from error


def _reference(artifact: Artifact) -> ReferenceProfile | None:
    if not artifact.reference:
        return None
    profile = decode_reference(artifact.reference)
    declared = tuple(channel.name for channel in artifact.manifest.channels)
    if profile.names != declared:
        raise ArtifactError(f"the reference profile has channels {profile.names[:8]}, the manifest {declared[:8]}")
    return profile


def _check_tensors(interpreter: Interpreter, manifest: Manifest) -> None:
    inputs, outputs = tensors_of(interpreter)
    if len(inputs) != 1:
        raise ArtifactError(f"the model has {len(inputs)} inputs; one is supported")
    for kind, in_file, declared in (("input", inputs, manifest.inputs), ("output", outputs, manifest.outputs)):
        if len(in_file) != len(declared):
            raise ArtifactError(f"the file has {len(in_file)} {kind}s, its manifest {len(declared)}")
        for position, (found, said) in enumerate(zip(in_file, declared, strict=True)):
            if not _agree(found, said):
                raise ArtifactError(f"{kind} {position} is {found} in the file and {said} in its manifest")


def _agree(found: Tensor, said: Tensor) -> bool:
    same_kind = (found.shape, found.dtype, found.zero_point) == (said.shape, said.dtype, said.zero_point)
    return same_kind and abs(found.scale - said.scale) <= _QUANTIZATION_TOLERANCE * found.scale
