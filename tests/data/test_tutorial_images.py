"""docs/tutorials/images.md is run as it stands: its lines, and every command against a site of its own."""

import re
from pathlib import Path

import pytest

from edgeops.local.up import Site
from tests.docs.console import Shell, commands, shape

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorials/images.md"


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    data = tmp_path_factory.mktemp("images")
    with Site(data) as site:
        folder = tmp_path_factory.mktemp("shell")
        (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        (folder / "digits.py").write_text(script)
        yield Shell(site, folder, EDGEOPS_DATA=str(data))


def test_every_command_of_the_page_prints_what_the_page_says(shell):
    told = [command for command in commands(PAGE) if command.line != "edgeops up"]
    assert len(told) > 10
    for command in told:
        ended = shell.run(command.line)
        assert ended.returncode == 0, f"{command.line}\n{ended.stdout}{ended.stderr}"
        assert shape(ended.stdout.splitlines()) == shape(command.prints), command.line
