"""What a network ends in: the last layer of each task, and the loss that it is trained with."""

from dataclasses import dataclass
from typing import Any

from edgeops.artifact.manifest import Task

#: The last layer's name.
ANSWER = "answer"
#: Of errors in standard deviations of the target: from there on they count in proportion, so that a few wild
#: targets do not rule (Huber 1964).
_HUBER_DELTA = 1.0


@dataclass(frozen=True, slots=True)
class Head:
    """The answer of a network."""

    task: Task
    #: Values of its tensor: one per class, or one.
    values: int

    def layer(self, tf: Any, seed: int) -> Any:
        """Class probabilities, or a number without bounds."""
        return tf.keras.layers.Dense(
            self.values,
            activation="softmax" if self.task is Task.CLASSIFICATION else None,
            kernel_initializer=tf.keras.initializers.GlorotUniform(seed=seed),
            name=ANSWER,
        )

    def target_type(self, tf: Any) -> Any:
        """Of what is to be learnt of each row."""
        return tf.int32 if self.task is Task.CLASSIFICATION else tf.float32

    def losses(self, tf: Any, truth: Any, answer: Any) -> Any:
        """Per row (n,), of truths (n,) and answers (n, values).

        A score has no truth: what is learnt from is normal, and the lower it scores the better.
        """
        if self.task is Task.ANOMALY:
            return answer[:, 0]
        if self.task is Task.CLASSIFICATION:
            return tf.keras.losses.sparse_categorical_crossentropy(truth, answer)
        return tf.keras.losses.huber(truth[:, tf.newaxis], answer, delta=_HUBER_DELTA)
