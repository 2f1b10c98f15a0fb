"""The README's commands are run, and its API answers are of the shape that the API gives."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgeops.api.shapes import Device, Page, Prediction, TelemetryWindow
from edgeops.local.up import Site
from tests.docs.console import Command, Shell, commands

README = Path(__file__).resolve().parents[2] / "README.md"
TOLD = commands(README)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (r"/devices/[a-z0-9-]+$", Device),
        (r"/predictions/latest$", Page[Prediction]),
        (r"/telemetry\?", Page[TelemetryWindow]),
    ],
)
def test_the_answers_shown_are_answers_of_the_api(part, kind):
    (command,) = (one for one in TOLD if one.line.startswith("curl") and re.search(part, one.line))
    shown = json.loads("\n".join(command.prints))
    assert json.loads(kind.model_validate(shown).model_dump_json()) == shown


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(7)
    states = random.integers(0, 2, 600)
    rows = np.column_stack((random.normal(1 + states, 0.3), random.normal(40 + 15 * states, 4)))
    lines = [
        f"{one:.4f},{two:.2f},{'worn' if state else 'good'}" for (one, two), state in zip(rows, states, strict=True)
    ]
    (home / "readings.csv").write_text("\n".join(["vibration,temperature,state", *lines]) + "\n")
    with Site(home / ".local/share/edgeops") as site:
        yield Shell(site, home, HOME=str(home), XDG_DATA_HOME="")


def of_a_person(command: Command) -> bool:
    return command.line.startswith(("edgeops ", "edgeops-agent "))


@pytest.mark.slow
def test_the_commands_of_the_readme_bring_a_model_from_a_csv_to_a_device(shell):
    told = [command for command in TOLD if of_a_person(command)]
    assert [command.line.split()[1] for command in told][:2] == ["dataset", "train"]
    for command in told:
        ended = shell.run(command.line)
        assert ended.returncode == 0, f"{command.line}\n{ended.stdout}{ended.stderr}"
    assert "proof: installed and healthy" in ended.stdout
