"""WAV files as readings: every width, channels, other rates and lengths, and what is refused."""

import io
import struct
import wave

import numpy as np
import pytest

from edgeops import limits
from edgeops.errors import DatasetError
from edgeops.model.recording import Facts, facts_of, read_recording, readings_at, resampled

RATE = 8_000


def wav(values, *, rate=RATE, width=2):
    """A file of values (readings,) or (readings, channels) between -1 and 1."""
    values = np.atleast_2d(np.asarray(values, np.float64).T).T
    scale = 2 ** (8 * width - 1)
    whole = np.clip(np.rint(values * scale), -scale, scale - 1).astype(np.int64) + (128 if width == 1 else 0)
    data = whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((values.shape[1], width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return buffer.getvalue()


def tone(hertz, *, rate=RATE, seconds=1.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_width_is_read_at_full_scale(width):
    values = np.array([0.0, 0.5, -0.5, -1.0, 0.25])
    read = read_recording(wav(values, width=width), readings=5, rate_hz=RATE)
    assert read.dtype == np.float32
    assert np.array_equal(read, values)


def test_several_channels_become_their_mean():
    read = read_recording(wav([[0.5, 0.0], [-0.5, -0.25]]), readings=2, rate_hz=RATE)
    assert read.tolist() == [0.25, -0.375]


def test_what_is_longer_is_cut_and_what_is_shorter_is_padded_with_silence():
    content = wav([0.5, 0.25, 0.125])
    assert read_recording(content, readings=2, rate_hz=RATE).tolist() == [0.5, 0.25]
    assert read_recording(content, readings=5, rate_hz=RATE).tolist() == [0.5, 0.25, 0.125, 0.0, 0.0]
    assert facts_of(content) == Facts(readings=3, rate_hz=RATE)


@pytest.mark.parametrize(("before", "after"), [(16_000, 8_000), (44_100, 8_000), (8_000, 16_000), (8_000, 11_025)])
def test_a_tone_keeps_its_pitch_and_level_at_another_rate(before, after):
    heard = resampled(tone(440, rate=before).astype(np.float32), before, after)
    assert len(heard) == readings_at(before, before, after) == after
    inside = slice(after // 20, -after // 20)  # the tone begins and ends at once
    assert np.abs(heard - tone(440, rate=after))[inside].max() < 2e-3


def test_what_the_lower_rate_cannot_hold_is_not_heard_as_something_else():
    heard = resampled(tone(5_000, rate=16_000).astype(np.float32), 16_000, 8_000)
    assert np.abs(heard[400:-400]).max() < 2e-3


def test_a_level_stays_a_level_at_another_rate():
    heard = resampled(np.full(4_410, 0.25, np.float32), 44_100, 8_000)
    assert np.allclose(heard[50:-50], 0.25, atol=1e-6)


def test_a_file_of_another_rate_is_resampled_before_it_is_cut():
    read = read_recording(wav(tone(440, rate=16_000, seconds=2), rate=16_000), readings=4_000, rate_hz=RATE)
    assert np.abs(read - tone(440, seconds=0.5))[200:-200].max() < 2e-3


def damaged(content, position, value):
    return content[:position] + value + content[position + len(value) :]


def extensible(content, subformat=1):
    """The same file with the header that ffmpeg and Audacity write of more than 16 bits."""
    bits = content[34:36]
    kind = struct.pack("<H", 0xFFFE) + content[22:36] + struct.pack("<H", 22) + bits + bytes(4)
    kind += struct.pack("<H", subformat) + bytes.fromhex("000000001000800000aa00389b71")
    return content[:16] + struct.pack("<I", len(kind)) + kind + content[36:]


GOOD = wav(tone(440, seconds=0.01))


@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_file_with_the_extensible_header_is_read_as_any_other(width):
    content = wav(tone(440, seconds=0.01), width=width)
    read = read_recording(extensible(content), readings=80, rate_hz=RATE)
    assert np.array_equal(read, read_recording(content, readings=80, rate_hz=RATE))


def test_what_else_a_file_tells_of_itself_is_passed_over():
    told = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    content = GOOD[:12] + told + GOOD[12:36] + told + GOOD[36:] + told
    assert np.array_equal(
        read_recording(content, readings=80, rate_hz=RATE), read_recording(GOOD, readings=80, rate_hz=RATE)
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no WAV recording"),
        (b"not a recording at all", "no WAV recording"),
        (damaged(GOOD, 20, struct.pack("<H", 3)), "its values are floating point numbers; save it as PCM with 8, 16"),
        (damaged(GOOD, 20, struct.pack("<H", 17)), "its values are compressed, of the format 17; save it as PCM"),
        (extensible(GOOD, 3), "its values are floating point numbers"),
        (damaged(GOOD, 22, struct.pack("<H", 0)), "it has no channel"),
        (damaged(GOOD, 24, struct.pack("<I", 0)), "0 readings a second"),
        (damaged(GOOD, 16, struct.pack("<I", 4)), "it has no readings"),
        (GOOD[:-20], "cut off: 70 readings of 80"),
        (GOOD[:30], "it has no readings"),
        (GOOD[:12] + (limits.MAX_RECORDING_CHUNKS + 1) * (b"LIST" + bytes(4)) + GOOD[12:], "it has no readings"),
        (wav([]), "without a reading"),
        (wav([0.0], rate=limits.MAX_RECORDING_HZ + 1), "384001 readings a second, the most is 384000"),
        (damaged(GOOD, 34, struct.pack("<H", 40)), "values of 40 bits"),
    ],
    ids=[
        "empty",
        "text",
        "floats",
        "compressed",
        "extensible floats",
        "no channel",
        "no rate",
        "no kind",
        "cut",
        "header only",
        "many parts",
        "silent",
        "too fast",
        "wide",
    ],
)
def test_what_is_no_recording_is_refused_in_words(content, words):
    with pytest.raises(DatasetError, match=words):
        read_recording(content, readings=10, rate_hz=RATE)
