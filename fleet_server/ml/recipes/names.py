"""The closed set of recipes."""

from enum import StrEnum


class RecipeName(StrEnum):
    """How a model is learnt."""

    #: Tables: two hidden layers.
    DENSE = "dense"
    #: Small images: depthwise-separable convolutions.
    CNN = "cnn"
    #: Windows of raw signals: depthwise-separable convolutions along time.
    SIGNALS = "signals"
    #: Recordings: depthwise-separable convolutions over a log-mel spectrogram.
    SPECTROGRAM = "spectrogram"
    #: Anomalies: the distance of a window's mean from normal ones.
    DISTANCE = "distance"
    #: Anomalies: how badly a window is rebuilt from a few numbers.
    AUTOENCODER = "autoencoder"
