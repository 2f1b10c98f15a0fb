"""The watched scalars of one inference."""

import msgspec
import numpy as np
import pytest

from edgeops.artifact.manifest import Channel, ChannelKind, InputWindow, Preprocess, Tensor
from edgeops.errors import ArtifactError
from edgeops.model.channels import Channels, projection_signs
from tests.golden.tiny import tiny_manifest

PIXELS = tuple(f"p{index}" for index in range(12))


def channel(kind, index=0, name=None):
    return Channel(name=name or f"{kind}-{index}", kind=kind, index=index)


def manifest(*channels, **changes):
    return msgspec.structs.replace(tiny_manifest(), channels=channels, **changes)


def image_manifest(*kinds, preprocess=None):
    return manifest(
        *(channel(kind) for kind in kinds),
        window=InputWindow(columns=PIXELS),
        inputs=(Tensor(name="image", shape=(1, 3, 4, 1), dtype="float32"),),
        preprocess=preprocess or Preprocess(multiply=(1 / 16,)),
    )


def values(made_of, window, embedding=None, *, answer=0.0, confidence=0.0, margin=0.0):
    channels = Channels(made_of, embedding_size=0 if embedding is None else len(embedding))
    window = np.asarray(window, np.float32)
    return channels(window, embedding, answer=answer, confidence=confidence, margin=margin)


def test_a_column_channel_is_the_last_row_of_the_window():
    made_of = manifest(channel(ChannelKind.COLUMN, 2), channel(ChannelKind.COLUMN, 0))
    assert values(made_of, [[1, 2, 3, 4], [5, 6, 7, 8]]).tolist() == [7, 5]


def test_channels_keep_the_manifests_order_whatever_their_kind():
    made_of = manifest(
        channel(ChannelKind.MARGIN),
        channel(ChannelKind.COLUMN, 1),
        channel(ChannelKind.ANSWER),
        channel(ChannelKind.MEAN, 0),
        channel(ChannelKind.COLUMN, 0),
        channel(ChannelKind.CONFIDENCE),
    )
    got = values(made_of, [[1, 2, 0, 0], [3, 4, 0, 0]], answer=2.0, confidence=0.75, margin=0.5)
    assert got.tolist() == [0.5, 4.0, 2.0, 2.0, 3.0, 0.75]


def test_window_features_describe_a_column_over_the_window():
    rows = np.array([[3, 0, 0, 0], [-5, 0, 0, 0], [4, 0, 0, 0]], np.float32)
    kinds = (ChannelKind.MEAN, ChannelKind.STD, ChannelKind.RMS, ChannelKind.PEAK)
    got = values(manifest(*(channel(kind) for kind in kinds)), rows)
    column = rows[:, 0].astype(np.float64)
    expected = [column.mean(), column.std(), np.sqrt((column**2).mean()), 5.0]
    assert got.tolist() == np.array(expected, np.float32).tolist()


def test_image_statistics_describe_the_pixels():
    image = np.array([[0, 16, 4, 4], [8, 8, 4, 4], [0, 0, 4, 4]], np.float32)
    kinds = (ChannelKind.BRIGHTNESS, ChannelKind.CONTRAST, ChannelKind.SHARPNESS, ChannelKind.CLIPPED)
    got = values(image_manifest(*kinds), image.reshape(1, -1))
    steps = np.concatenate([np.abs(np.diff(image, axis=0)).ravel(), np.abs(np.diff(image, axis=1)).ravel()])
    expected = [image.mean(dtype=float), image.astype(float).std(), steps.mean(dtype=float), 4 / 12]
    assert got.tolist() == np.array(expected, np.float32).tolist()


def test_an_image_statistic_alone_is_the_same():
    image = np.arange(12, dtype=np.float32)[np.newaxis]
    alone = values(image_manifest(ChannelKind.CONTRAST), image)
    both = values(image_manifest(ChannelKind.CLIPPED, ChannelKind.CONTRAST), image)
    assert alone[0] == both[1]


def test_projections_are_fixed_for_ever():
    signs = projection_signs(2, 300)
    assert set(signs.ravel().tolist()) == {-1, 1}
    # SHA-256 of b"edgeops-projection-1", row and block as 4 little-endian bytes each; lowest bit first, set = +1.
    assert signs[0, :16].tolist() == [1, 1, -1, -1, -1, -1, -1, 1, 1, 1, 1, -1, 1, 1, -1, 1]
    assert abs(int(signs.sum())) < 100


def test_a_projection_is_the_signed_sum_over_the_root_of_the_size():
    embedding = np.array([1, 2, 3, 4], np.float32)
    made_of = manifest(channel(ChannelKind.PROJECTION, 3), channel(ChannelKind.PROJECTION, 0))
    expected = projection_signs(4, 4).astype(float) @ embedding / 2
    assert values(made_of, np.zeros((1, 4)), embedding).tolist() == [expected[3], expected[0]]


def test_a_missing_reading_is_a_missing_channel():
    got = values(manifest(channel(ChannelKind.COLUMN, 0), channel(ChannelKind.MEAN, 0)), [[np.nan, 0, 0, 0]])
    assert np.isnan(got).all()


def test_each_answer_has_an_array_of_its_own():
    channels = Channels(manifest(channel(ChannelKind.ANSWER)), embedding_size=0)
    window = np.zeros((1, 4), np.float32)
    first = channels(window, None, answer=1.0, confidence=0, margin=0)
    channels(window, None, answer=2.0, confidence=0, margin=0)
    assert first.tolist() == [1.0]


@pytest.mark.parametrize(
    ("made_of", "message"),
    [
        (manifest(channel(ChannelKind.COLUMN, 4)), "reads column 4 of 4"),
        (manifest(channel(ChannelKind.RMS, -1)), "reads column -1 of 4"),
        (manifest(channel(ChannelKind.PROJECTION, 0)), "output.embedding is not set"),
        (manifest(channel(ChannelKind.SHARPNESS)), "height, width"),
        (image_manifest(ChannelKind.CLIPPED, preprocess=Preprocess(multiply=(0.0,))), "one multiply above 0"),
    ],
)
def test_a_channel_that_the_model_cannot_have_is_refused(made_of, message):
    with pytest.raises(ArtifactError, match=message):
        Channels(made_of, embedding_size=0)
