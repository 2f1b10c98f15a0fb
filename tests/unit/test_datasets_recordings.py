"""Folders of recordings: each file is a clip, all of one rate and length."""

import io
import wave

import msgspec
import numpy as np
import pytest

from edgeops.cli.inspection import commented_rules
from edgeops.data.clip import Clip
from edgeops.data.rules import Rules, read_rules
from edgeops.errors import DatasetError
from edgeops.folder import FolderStream, open_folder
from fleet_server.datasets.importing import import_file as import_to
from fleet_server.datasets.inspecting import inspect_file
from fleet_server.datasets.snapshot import read_snapshot

RANDOM = np.random.default_rng(11)
WORDS, SPEAKERS, TAKES = ("no", "yes"), ("ann", "bob", "cid"), 4


def wav(readings=80, rate=8_000):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(RANDOM.integers(-3000, 3000, readings, dtype=np.int16).tobytes())
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two words by three speakers, as `no_ann_0.wav`."""
    path = tmp_path / "words"
    path.mkdir()
    for word in WORDS:
        for speaker in SPEAKERS:
            for take in range(TAKES):
                (path / f"{word}_{speaker}_{take}.wav").write_bytes(wav())
    return path


def zip_of(folder):
    path = folder.with_suffix(".zip")
    with open_folder(folder) as opened:
        stream = FolderStream(opened)
        path.write_bytes(b"".join(iter(lambda: stream.read(1 << 20), b"")))
    return path


def load(folder, **rules):
    named = {"label": "word", "pattern": "(?P<word>[a-z]+)_(?P<speaker>[a-z]+)_(?P<take>[0-9])"}
    given = msgspec.convert(named | rules, Rules)
    destination, refused = folder.with_name("snapshot"), folder.with_name("refused")
    import_to(zip_of(folder), given, file_name="words.zip", destination=destination, quarantine=refused)
    return read_snapshot(destination)


def refusal(folder, **rules):
    with pytest.raises(DatasetError) as caught:
        load(folder, **rules)
    return str(caught.value)


def test_each_file_is_a_clip_and_its_name_tells_word_and_speaker(folder):
    snapshot = load(folder, group="speaker", split="group", held_out=("cid",))
    schema = snapshot.schema
    assert (schema.clip, schema.columns, schema.classes) == (Clip(rows=80, rate_hz=8_000), ("audio",), WORDS)
    assert set(snapshot.groups) == set(SPEAKERS)
    assert schema.split_rows[2] == len(WORDS) * TAKES
    with wave.open(str(folder / "no_ann_0.wav")) as file:
        expected = np.frombuffer(file.readframes(80), "<i2") / 32768
    assert np.array_equal(snapshot.rows.values[0], expected.astype(np.float32))


def test_takes_are_held_out_by_name_as_any_other_group(folder):
    snapshot = load(folder, group="take", split="group", held_out=("0",))
    assert snapshot.schema.split_rows[2] == len(WORDS) * len(SPEAKERS)


def test_lengths_that_differ_are_an_error_unless_one_is_asked_for(folder):
    (folder / "no_bob_1.wav").write_bytes(wav(79))
    assert refusal(folder) == (
        "words.zip: no_bob_1.wav has 79 readings and no_ann_0.wav 80; say how long all shall be: seconds = 0.01"
    )
    snapshot = load(folder, seconds=0.02)
    assert snapshot.schema.clip == Clip(rows=160, rate_hz=8_000)
    assert not snapshot.rows.values[:, 80:].any()


def test_rates_that_differ_are_an_error_unless_one_is_asked_for(folder):
    (folder / "no_bob_1.wav").write_bytes(wav(160, rate=16_000))
    assert refusal(folder) == (
        "words.zip: no_bob_1.wav has 16000 readings a second and no_ann_0.wav 8000; say which rate all shall have: "
        "clip_hz = 8000"
    )
    assert load(folder, clip_hz=8_000).schema.clip == Clip(rows=80, rate_hz=8_000)
    assert load(folder, clip_hz=4_000, seconds=0.02).schema.clip == Clip(rows=80, rate_hz=4_000)


def test_what_is_no_recording_is_refused_by_name(folder):
    (folder / "no_bob_1.wav").write_bytes(b"no recording")
    (folder / "yes_bob_1.wav").write_bytes(wav()[:-10])
    assert refusal(folder).startswith("words.zip, no_bob_1.wav: no WAV recording (and 1 more rows: malformed)")
    assert load(folder, bad_rows="quarantine").schema.refused == {"malformed": 2}


def test_an_inspection_tells_rates_and_lengths_and_the_rules_for_them(folder):
    (folder / "no_ann_0.wav").write_bytes(wav(480, rate=16_000))
    (folder / "no_ann_1.wav").write_bytes(wav(40))
    (folder / "no_ann_2.wav").write_bytes(wav()[:-10])
    found = inspect_file(zip_of(folder), file_name="words.zip")
    told = commented_rules(found, file_name="words")
    assert told == (
        "# words: 23 recordings, and 1 that would be refused\n"
        "# no two classes: put the files of each into a folder of its own, or name them by a pattern\n"
        "# Hz: 8000 (22), 16000 (1)\n"
        "# seconds: 0.005 to 0.03, half of them up to 0.01\n"
        "# no_ann_2.wav: cut off: 75 readings of 80\n"
        "\n"
        'task = "anomaly"\nclip_hz = 8000.0\nbad_rows = "quarantine"\nseconds = 0.03\n'
    )
    rules = msgspec.to_builtins(read_rules(found.rules, task="classification", label="word"))
    assert load(folder, **rules).schema.clip == Clip(rows=240, rate_hz=8_000)


def test_recordings_that_no_model_could_read_whole_are_cut(folder):
    for file in folder.iterdir():
        file.write_bytes(wav(70_000))
    rules = read_rules(inspect_file(zip_of(folder), file_name="words.zip").rules)
    assert (rules.clip_hz, rules.seconds) == (None, 8.192)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"size": (8, 8)}, "size and grey are for pictures"),
        ({"clip_hz": 8000.5}, "8000.5 readings a second; say a whole number up to 384000"),
        ({"clip_hz": 384_001}, "384001 readings a second; say a whole number up to 384000"),
        ({"seconds": 10.0}, "recordings of 80000 readings, the most is 65536; say fewer seconds"),
    ],
)
def test_rules_that_do_not_fit_recordings_are_refused_in_words(folder, rules, words):
    assert words in refusal(folder, **rules)


def test_a_folder_without_recordings_is_an_error(folder):
    for file in folder.iterdir():
        file.write_bytes(b"x")
    assert refusal(folder) == (
        "words.zip: none of its files is a recording that can be read; no_ann_0.wav: no WAV recording"
    )
