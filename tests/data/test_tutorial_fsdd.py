"""docs/tutorials/fsdd.md is run as it stands: its lines, and every command against a site of its own."""

import re
from pathlib import Path

import pytest

from edgeops.local.up import Site
from tests.data.folder import data_folder
from tests.docs.console import Shell, commands, shape

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(1800)]

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorials/fsdd.md"
#: What int8 must get right of the official test.
OFFICIAL = 0.95


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    data = tmp_path_factory.mktemp("fsdd")
    with Site(data) as site:
        folder = tmp_path_factory.mktemp("shell")
        (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        (folder / "words.py").write_text(script)
        yield Shell(site, folder, EDGEOPS_DATA=str(data), EDGEOPS_TEST_DATA=str(data_folder()))


def test_every_command_of_the_page_prints_what_the_page_says(shell):
    told = [command for command in commands(PAGE) if command.line != "edgeops up"]
    assert len(told) > 8
    for command in told:
        ended = shell.run(command.line)
        assert ended.returncode == 0, f"{command.line}\n{ended.stdout}{ended.stderr}"
        assert shape(ended.stdout.splitlines()) == shape(command.prints), command.line
        if command.line.startswith("edgeops train words"):
            (accuracy,) = re.findall(r"^int8 +([0-9.]+)", ended.stdout, re.MULTILINE)
            assert float(accuracy) >= OFFICIAL
