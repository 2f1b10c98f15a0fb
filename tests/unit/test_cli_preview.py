"""What a dry run says of the waves."""

from types import SimpleNamespace

import pytest

from edgeops import limits
from edgeops.api.shapes import FieldProblem, PlannedWave, RolloutPreview
from edgeops.cli.preview import show_preview
from edgeops.errors import InputError

MANY = limits.CONTROL_FROM_DEVICES


def show(**said):
    preview = RolloutPreview(**({"matched": 0, "asked": 0, "totals": {}, "waves": (), "items": ()} | said))
    show_preview(SimpleNamespace(preview_rollout=lambda *_, **__: preview), {}, limit=10, as_json=False)


@pytest.mark.parametrize(
    ("sizes", "is_told"), [((MANY,), True), ((MANY - 1,), False), ((1, MANY - 2, 1), False)], ids=str
)
def test_a_dry_run_says_that_one_wave_of_many_leaves_nobody_to_compare_with(capsys, sizes, is_told):
    waves = tuple(PlannedWave(position=number, size=size) for number, size in enumerate(sizes))
    show(matched=sum(sizes), asked=sum(sizes), waves=waves)
    assert ("nobody is held back as control" in capsys.readouterr().err) is is_told


def test_a_dry_run_of_what_can_begin_says_how_it_would(capsys):
    show()
    assert "nothing was started; without --dry-run it is\n" in capsys.readouterr().err


def test_a_dry_run_of_what_cannot_begin_does_not_say_that_it_would(capsys):
    with pytest.raises(InputError, match="#/to: nobody"):
        show(problems=(FieldProblem(pointer="#/to", detail="nobody"),))
    told = capsys.readouterr().err
    assert "nothing was started, and nothing would be without --dry-run\n" in told
    assert "without --dry-run it is" not in told
