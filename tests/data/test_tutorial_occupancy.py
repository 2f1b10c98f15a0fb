"""docs/tutorials/occupancy.md is run as it stands: every command, against a site of its own, with the real data."""

import re
from pathlib import Path

import pytest

from edgeops.local.up import Site
from tests.data.folder import data_folder
from tests.docs.console import Shell, commands, shape

pytestmark = [pytest.mark.data, pytest.mark.slow]

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorials/occupancy.md"


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    data = tmp_path_factory.mktemp("occupancy")
    with Site(data) as site:
        folder = tmp_path_factory.mktemp("shell")
        yield Shell(site, folder, EDGEOPS_DATA=str(data), EDGEOPS_TEST_DATA=str(data_folder()))


def test_every_command_prints_what_the_page_says_and_both_classes_are_told_apart(shell):
    printed = {}
    for command in commands(PAGE):
        if command.line == "edgeops up":
            continue
        ended = shell.run(command.line)
        assert ended.returncode == 0, f"{command.line}\n{ended.stdout}{ended.stderr}"
        assert shape(ended.stdout.splitlines()) == shape(command.prints), command.line
        printed[" ".join(command.line.split()[:2])] = ended.stdout
    balanced = re.findall(r"^(?:float32|int8)\s+[0-9.]+, ([0-9.]+)", printed["edgeops train"], re.MULTILINE)
    assert len(balanced) == 2
    assert all(float(one) >= 0.90 for one in balanced)
