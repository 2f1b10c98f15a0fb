"""The card inside a file says what decided which rows judge."""

import pytest

from edgeops.data.rules import Rules, SplitBy
from fleet_server.ml.card import write_card
from fleet_server.ml.training import Learned
from tests.unit.card_facts import descriptor_of, schema_of

LEARNED = Learned(epochs=3, best_epoch=2, validation_loss=0.1)


@pytest.mark.parametrize(
    ("rules", "drawn"),
    [
        (None, "stratified, seed 0"),
        (Rules(label="state"), "stratified, seed 0"),
        (Rules(label="state", group="who", split=SplitBy.GROUP), "whole groups by chance, of 5, seed 0"),
        (Rules(label="state", group="who", split=SplitBy.GROUP, held_out=("anna",)), "whole groups by name, of 5"),
        (Rules(label="state", group="who", time="at", split=SplitBy.TIME, held_out=("anna",)), "whole groups by name"),
        (Rules(label="state", time="at", split=SplitBy.TIME), "the latest rows"),
    ],
)
def test_a_card_says_how_the_rows_that_judge_were_chosen_and_names_no_group(rules, drawn):
    schema = schema_of(rules=rules, groups=5)
    card = write_card(descriptor_of().manifest, schema, LEARNED, windows=(), worth="## What it is worth")
    assert f"120 held out to judge ({drawn}" in card
    assert "anna" not in card
