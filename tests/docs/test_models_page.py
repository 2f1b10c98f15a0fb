"""The page on models names commands that exist, every rule of every promotion gate, and limits as they are."""

import re
import shlex

import pytest
import typer

from edgeops import limits
from edgeops.cli.app import app
from edgeops.learning import anomaly_promotion, classification_promotion, regression_promotion
from edgeops.learning.promotion_policy import PromotionPolicy
from tests.docs.test_docs import PROJECT

PAGE = (PROJECT / "docs/models.md").read_text()
COMMANDS = re.findall(r"^    edgeops (.+)$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_page_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("model.tflite", "model.keras", "saved_model"):
        (tmp_path / name).touch()
    command, words = typer.main.get_command(app), shlex.split(line)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert command.make_context(command.name, words).params


def test_limits_of_brought_models_are_as_the_page_says():
    mib = 2**20
    assert f"more than {limits.MAX_ARTIFACT_BYTES // mib} MiB" in PAGE
    assert f"An upload may have {limits.MAX_BROUGHT_BYTES // mib} MiB" in PAGE
    assert f"hold {limits.IMPORT_MEMORY_BYTES // 2**30} GiB" in PAGE
    assert limits.FIRST_ANSWERS.total_seconds() == 60
    assert "no first answers within a minute" in PAGE


@pytest.mark.parametrize("gate", [anomaly_promotion, classification_promotion, regression_promotion])
def test_every_rule_has_a_line(gate):
    for rule in gate.RULES:
        assert f"| `{rule}` |" in PAGE, rule


def test_every_limit_is_named_with_its_default():
    policy = PromotionPolicy()
    for name in PromotionPolicy.__struct_fields__:
        value = getattr(policy, name)
        default = "none" if value is None else f"{value:g}"
        assert re.search(rf"`{name.replace('_', '-')}` {re.escape(default)}\b", PAGE), name
