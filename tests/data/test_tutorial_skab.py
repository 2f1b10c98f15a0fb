"""docs/tutorials/skab.md is run as it stands: its lines, and every command against a site of its own."""

import re
from pathlib import Path

import pytest

from bench.skab import LEAST_F1, MOST_FALSE_ALARMS
from edgeops.local.up import Site
from tests.data.folder import data_folder
from tests.docs.console import Shell, commands, shape

pytestmark = [pytest.mark.data, pytest.mark.slow, pytest.mark.timeout(1800)]

PAGE = Path(__file__).resolve().parents[2] / "docs/tutorials/skab.md"


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    data = tmp_path_factory.mktemp("skab")
    with Site(data) as site:
        folder = tmp_path_factory.mktemp("shell")
        runs, pool = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        (folder / "runs.py").write_text(runs)
        (folder / "pool.py").write_text(pool)
        yield Shell(site, folder, EDGEOPS_DATA=str(data), EDGEOPS_TEST_DATA=str(data_folder()))


def test_every_command_prints_what_the_page_says_and_faults_of_runs_without_a_say_are_found(shell):
    printed = {}
    for command in commands(PAGE):
        if command.line == "edgeops up":
            continue
        ended = shell.run(command.line)
        assert ended.returncode == 0, f"{command.line}\n{ended.stdout}{ended.stderr}"
        assert shape(ended.stdout.splitlines()) == shape(command.prints), command.line
        printed[" ".join(command.line.split()[:2])] = ended.stdout
    ((f1, false_alarms),) = re.findall(r"^F1 ([0-9.]+), false alarms in ([0-9.]+)%", printed["python pool.py"])
    assert float(f1) >= LEAST_F1
    assert float(false_alarms) <= 100 * MOST_FALSE_ALARMS
