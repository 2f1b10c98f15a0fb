"""Which error ends with which exit code."""

import pytest

from edgeops import errors
from edgeops.cli.app import run
from edgeops.exits import Exit, RolloutEndedBadlyError, exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DatasetError("x"), 1),
        (errors.ServerError("x"), 1),
        (errors.PlatformError("x"), 1),
        (errors.ConfigError("x"), 2),
        (errors.NotFoundError("x"), 3),
        (errors.AccessError("x"), 4),
        (errors.UnreachableError("x"), 5),
        (errors.ConflictError("x"), 6),
        (RolloutEndedBadlyError("x"), 7),
        (errors.WaitTimeoutError("x"), 9),
    ],
)
def test_an_error_ends_with_its_code(error, code):
    assert exit_code(error) == code


def test_the_numbers_are_what_scripts_rely_on():
    assert {code.name: int(code) for code in Exit} == {
        "OK": 0, "FAILED": 1, "USAGE": 2, "NOT_FOUND": 3, "ACCESS": 4,
        "UNREACHABLE": 5, "CONFLICT": 6, "ROLLOUT": 7, "GATE": 8, "TIMEOUT": 9, "EVIDENCE": 10,
    }  # fmt: skip


def test_an_unknown_option_is_a_usage_error(capsys):
    assert run(["devices", "list", "--colour"]) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--colour" in captured.err


def test_an_error_is_one_line_on_standard_error(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEOPS_DEBUG", raising=False)
    monkeypatch.delenv("EDGEOPS_URL", raising=False)
    assert run(["devices", "list", "--data", str(tmp_path)]) == Exit.UNREACHABLE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no server")
    assert captured.err.count("\n") == 1


def test_debug_shows_where_the_error_comes_from(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEOPS_DEBUG", "1")
    monkeypatch.delenv("EDGEOPS_URL", raising=False)
    assert run(["devices", "list", "--data", str(tmp_path)]) == Exit.UNREACHABLE
    assert "Traceback" in capsys.readouterr().err
