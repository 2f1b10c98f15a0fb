"""Runs the console blocks of a page against a running site."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from edgeops.local.up import Site

_DEVICE = re.compile(r"agent-(\d)-[0-9a-f]{4}")
#: What may differ from run to run: ids, digests, times, figures, and how wide a table got.
_VARIES = re.compile(
    r"agent-\d-[0-9a-f]{4}|(run|rollout|job)-[0-9a-f-]+|sha256:[0-9a-f]+|[0-9][0-9.,:-]*(?: (?:B|KiB|MiB))?"
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page, and what the page says that it prints."""

    line: str
    prints: list[str]


def commands(page: Path) -> list[Command]:
    """Every `$ ` line of every console block, in order."""
    return commands_in(page.read_text())


def commands_in(text: str) -> list[Command]:
    """The same of a part of a page."""
    found: list[Command] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:], []))
            else:
                found[-1].prints.append(line)
    return found


def shape(lines: list[str]) -> list[str]:
    """What lines say apart from what varies; agents commit in any order, and not every step is seen."""
    told = [line for line in lines if line.strip() and not line.endswith(("offered", "installing"))]
    return sorted(" ".join(_VARIES.sub("#", line).split()) for line in told)


class Shell:
    """A person's shell beside a running site; devices named on a page become those of the site."""

    def __init__(self, site: Site, folder: Path, **environment: str) -> None:
        self._folder = folder
        self._devices = {agent.name: agent.device_id for agent in site.agents}
        scripts = Path(sys.executable).parent
        self._environment = os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}", "COLUMNS": "100"} | environment

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        real = _DEVICE.sub(lambda match: self._devices[f"agent-{match[1]}"], line)
        return subprocess.run(
            ["bash", "-c", real], cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
