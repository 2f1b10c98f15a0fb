"""The server's choice, from stored samples and the model that answered them."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from edgeops.artifact.manifest import MissingPolicy
from edgeops.model.model import Model
from fleet_server.choosing import choose_samples
from fleet_server.db.samples import Sample
from tests.golden.tiny import tiny_artifact, tiny_rows

START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(params=[True, False], ids=["embedding", "readings"])
def model(request, tmp_path):
    """The tiny model, with an embedding and without."""
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_artifact(embedding=request.param, missing=MissingPolicy.REFUSE))
    loaded = Model.load(path)
    yield loaded
    loaded.close()


def sample(number, readings, *, by_chance=False, confidence=0.5):
    return Sample(
        id=f"s-{number:03}",
        device_id="dev-1",
        deployment="tiny",
        digest="sha256:1",
        nomination="n-1",
        input_id=str(number),
        answered_at=START,
        received_at=START,
        readings=np.asarray(readings, "<f4").tobytes(),
        answer=0.0,
        confidence=confidence,
        weight=1.0,
        by_chance=by_chance,
        shadow_answer=None,
    )


def test_the_choice_is_small_spread_and_the_same_for_the_same_seed(model):
    rows, classes = tiny_rows(60, seed=7)
    samples = [sample(number, row) for number, row in enumerate(rows)]
    chosen = choose_samples(model, samples, 6, random_share=0.0, seed=1)
    assert len(chosen) == 6
    assert {int(classes[int(one.input_id)]) for one in chosen} == {0, 1, 2}
    assert chosen == choose_samples(model, samples, 6, random_share=0.0, seed=1)


def test_neither_the_order_of_samples_nor_their_names_decide(model):
    rows, _ = tiny_rows(60, seed=7)
    samples = [sample(number, row, by_chance=number % 4 == 0) for number, row in enumerate(rows)]
    renamed = [replace(one, id=f"s-{999 - number:03}") for number, one in enumerate(reversed(samples))]
    choices = [choose_samples(model, one, 10, random_share=0.5, seed=1) for one in (samples, renamed)]
    assert [one.input_id for one in choices[0]] == [one.input_id for one in choices[1]]


def test_what_a_device_says_of_its_samples_decides_nothing(model):
    rows, _ = tiny_rows(60, seed=7)
    honest = [sample(number, row) for number, row in enumerate(rows)]
    boastful = [replace(one, confidence=1.0 - 0.01 * number, answer=2.0) for number, one in enumerate(honest)]
    choices = [choose_samples(model, one, 10, random_share=0.0, seed=1) for one in (honest, boastful)]
    assert [one.id for one in choices[0]] == [one.id for one in choices[1]]


def test_what_the_model_refuses_is_not_chosen(model):
    rows, _ = tiny_rows(4, seed=7)
    gap, short = rows[0].copy(), rows[1][:2]
    gap[2] = np.nan
    samples = [sample(0, gap), sample(1, short), sample(2, rows[2]), sample(3, rows[3])]
    assert {one.id for one in choose_samples(model, samples, 4, random_share=0.0, seed=0)} == {"s-002", "s-003"}


def test_a_share_is_taken_from_what_was_drawn_by_chance(model):
    rows, _ = tiny_rows(40, seed=3)
    samples = [sample(number, row, by_chance=number % 4 == 0) for number, row in enumerate(rows)]
    chosen = choose_samples(model, samples, 10, random_share=0.3, seed=2)
    assert [one.by_chance for one in chosen] == [True] * 3 + [False] * 7


def test_nothing_comes_of_nothing(model):
    assert choose_samples(model, [], 5, random_share=0.2, seed=0) == []
