"""What people type: MODEL@VERSION, moments, durations."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from edgeops.cli.app import run
from edgeops.cli.options import parse_moment, parse_span
from edgeops.cli.reference import ModelVersion, parse_model_version


@pytest.mark.parametrize("text", ["digits@1", "digits@v1"])
def test_a_model_and_its_version_are_read(text):
    assert parse_model_version(text) == ModelVersion("digits", 1)


@pytest.mark.parametrize("text", ["digits", "digits@", "@1", "digits@0", "digits@one", "Digits@1", "a@1", "digits@1@2"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(typer.BadParameter, match="digits@1"):
        parse_model_version(text)


def test_a_wrong_reference_on_the_command_line_is_a_usage_error(capsys):
    assert run(["model", "withdraw", "digits"]) == 2
    assert "MODEL@VERSION" in capsys.readouterr().err


def test_a_moment_has_an_offset_or_is_local():
    assert parse_moment("2026-11-23T12:00:00Z") == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert parse_moment("2026-11-23T12:00:00+02:00") == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert parse_moment("2026-11-23").tzinfo is UTC
    with pytest.raises(typer.BadParameter, match="yesterday"):
        parse_moment("yesterday")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400)])
def test_a_duration_has_a_unit_or_is_seconds(text, seconds):
    assert parse_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "0", "-1s", "1w", "nan", "inf", "1e300h"])
def test_a_duration_that_is_none_is_refused(text):
    with pytest.raises(typer.BadParameter, match="15m"):
        parse_span(text)
