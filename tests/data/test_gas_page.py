"""docs/gas.md is run as it stands: every command, against a site of its own, with the real data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeops.local.up import Site
from tests.data.folder import data_folder

pytestmark = [pytest.mark.data, pytest.mark.slow]

PAGE = Path(__file__).resolve().parents[2] / "docs/gas.md"
_DEVICE = re.compile(r"agent-(\d)-[0-9a-f]{4}")
#: What may differ from run to run: ids, digests, times, figures, and how wide a table got.
_VARIES = re.compile(r"(run|rollout|job)-[0-9a-f-]+|sha256:[0-9a-f]+|[0-9][0-9.,:-]*(?: (?:B|KiB|MiB))?")


def blocks() -> list[tuple[str, list[str]]]:
    """(command, lines it prints) of every console block, but for the `up` that the test does itself."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return [entry for entry in found if entry[0] != "edgeops up"]


def shape(lines: list[str]) -> list[str]:
    """What a line says apart from what varies; agents may commit in any order."""
    return sorted(" ".join(_VARIES.sub("#", line).split()) for line in lines if line.strip())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("gas")) as running:
        yield running


@pytest.fixture(scope="module")
def shell(site, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shell")
    names = {agent.device_id[:7]: agent.device_id for agent in site.agents}
    environment = os.environ | {
        "EDGEOPS_DATA": str(site.data),
        "EDGEOPS_TEST_DATA": str(data_folder()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "100",
    }

    def run(command: str) -> subprocess.CompletedProcess[str]:
        real = _DEVICE.sub(lambda match: names[f"agent-{match[1]}"], command)
        return subprocess.run(
            ["bash", "-c", real], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_every_command_of_the_page_prints_what_the_page_says(shell):
    commands = blocks()
    assert len(commands) > 8
    for command, said in commands:
        ended = shell(command)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        assert shape(ended.stdout.splitlines()) == shape(said), command
