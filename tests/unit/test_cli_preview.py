"""What a dry run says of the waves."""

from types import SimpleNamespace

import pytest

from edgeops import limits
from edgeops.api.shapes import PlannedWave, RolloutPreview
from edgeops.cli.preview import show_preview

MANY = limits.CONTROL_FROM_DEVICES


@pytest.mark.parametrize(
    ("sizes", "is_told"), [((MANY,), True), ((MANY - 1,), False), ((1, MANY - 2, 1), False)], ids=str
)
def test_a_dry_run_says_that_one_wave_of_many_leaves_nobody_to_compare_with(capsys, sizes, is_told):
    waves = tuple(PlannedWave(position=number, size=size) for number, size in enumerate(sizes))
    preview = RolloutPreview(
        matched=sum(sizes), asked=sum(sizes), totals={}, waves=waves, problems=(), items=(), next=None
    )
    show_preview(SimpleNamespace(preview_rollout=lambda *_, **__: preview), {}, limit=10, as_json=False)
    assert ("nobody is held back as control" in capsys.readouterr().err) is is_told
