"""docs/tutorials/gas-ppm.md is run as it stands: every command, against a site of its own, with the real data."""

import re
from pathlib import Path

import pytest

from edgeops.local.up import Site
from tests.data.folder import data_folder
from tests.docs.console import Shell, commands, shape

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorials/gas-ppm.md"
#: By how much the file that runs on the device may be off on average.
MOST_PPM = 14.0


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    data = tmp_path_factory.mktemp("gas-ppm")
    with Site(data) as site:
        folder = tmp_path_factory.mktemp("shell")
        yield Shell(site, folder, EDGEOPS_DATA=str(data), EDGEOPS_TEST_DATA=str(data_folder()))


def test_every_command_prints_what_the_page_says_and_the_device_estimates_as_well_as_it_was_judged(shell):
    printed = {}
    for command in commands(PAGE):
        if command.line == "edgeops up":
            continue
        ended = shell.run(command.line)
        assert ended.returncode == 0, f"{command.line}\n{ended.stdout}{ended.stderr}"
        assert shape(ended.stdout.splitlines()) == shape(command.prints), command.line
        printed[" ".join(command.line.split()[:2])] = ended.stdout
    (judged,) = re.findall(r"^dynamic +([0-9.]+) ppm", printed["edgeops train"], re.MULTILINE)
    (answered,) = re.findall(r"^mean absolute error +([0-9.]+)", printed["edgeops-agent batch"], re.MULTILINE)
    assert float(answered) == pytest.approx(float(judged), abs=0.01)
    assert float(answered) <= MOST_PPM
