"""What one pass over the training rows has shown."""

import msgspec


class Epoch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One pass; losses are means in the units of the loss, and need not be numbers where a training goes astray."""

    #: From 1.
    number: int
    #: Over the rows as they were learnt from, while the weights changed.
    training_loss: float
    #: With the weights at the end of the pass.
    validation_loss: float
    learning_rate: float
    #: Since the first pass began.
    elapsed_s: float
