"""Asks a model that nobody knows for its first answers, before anything relies on them.

A model that loops for ever cannot be interrupted: the alarm ends the whole process, which whoever started it notices.
"""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeops.errors import ArtifactError
from edgeops.model.postprocess import dequantizer
from edgeops.model.preprocess import Preprocessor
from edgeops.model.runtime import load_interpreter
from fleet_server.ml.brought_rows import BroughtRows
from fleet_server.ml.conversion import Converted

_FIRST_INPUTS = 200


def first_answers(converted: Converted, rows: BroughtRows, *, patience_s: float) -> NDArray[np.float32]:
    """The answer tensor's real values (n, values) for up to 200 whole training windows.

    The process dies by SIGALRM when they take longer than `patience_s`; call it in a child's main thread.

    Raises:
        ArtifactError: the runtime refuses the file, or an answer is not finite.
    """
    places = np.linspace(0, len(rows.whole) - 1, num=min(_FIRST_INPUTS, len(rows.whole)), dtype=np.int64)
    prepare = Preprocessor(rows.preprocess, rows.windows.window, converted.inputs[0], missing=rows.missing)
    real = dequantizer(converted.outputs[converted.answer])
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file, _alarm(patience_s):
        file.write(converted.data)
        file.flush()
        interpreter = load_interpreter(Path(file.name))
        reading = interpreter.get_input_details()[0]["index"]
        answer = interpreter.get_output_details()[converted.answer]["index"]
        answers = []
        for window in rows.whole.values[places]:
            interpreter.set_tensor(reading, prepare(window))
            try:
                interpreter.invoke()
            except (RuntimeError, ValueError) as error:
                raise ArtifactError(f"the model fails at its first answer: {error}") from error
            answers.append(real(interpreter.get_tensor(answer)).copy())
    found = np.array(answers, dtype=np.float32)
    wrong = ~np.isfinite(found).all(axis=1)
    if wrong.any():
        first = found[wrong][0]
        raise ArtifactError(
            f"the model answers {first[~np.isfinite(first)][0]} to {int(wrong.sum())} of {len(found)} training rows; "
            "is a preprocessing missing that it was trained with?"
        )
    return found


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
