"""Each module contract is broken once on purpose: a contract that cannot fail is no contract."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

#: contract id -> (file that sins, the sin)
SINS = {
    "edgeops-imports-no-shell": ("edgeops/limits.py", "import device_agent"),
    "agent-and-server-are-strangers": ("device_agent/__init__.py", "import fleet_server"),
    "server-and-agent-are-strangers": ("fleet_server/__init__.py", "import device_agent"),
    "decisions-are-pure": ("edgeops/protocol/topics.py", "import time"),
    "one-runtime-door": ("fleet_server/__init__.py", "import ai_edge_litert"),
    "one-tuf-door": ("fleet_server/__init__.py", "import tuf"),
    "daemon-starts-the-tuf-client": ("device_agent/__init__.py", "import edgeops.trust.client"),
    "training-stays-in-ml": ("fleet_server/__init__.py", "import tensorflow"),
    "database-stays-in-db": ("fleet_server/__init__.py", "import sqlalchemy"),
    "arrow-stays-with-files": ("fleet_server/__init__.py", "import pyarrow"),
    "one-door-for-pictures": ("fleet_server/__init__.py", "import PIL"),
    "mqtt-stays-in-the-links": ("fleet_server/__init__.py", "import paho.mqtt.client"),
    "amqtt-stays-embedded": ("fleet_server/__init__.py", "import amqtt"),
    "pydantic-stays-in-shapes": ("edgeops/errors.py", "import pydantic"),
    "terminal-stays-in-cli": ("fleet_server/__init__.py", "import rich"),
}

_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_every_contract_has_its_sin():
    assert {contract["id"] for contract in CONTRACTS} == set(SINS)


@pytest.fixture(scope="module")
def lint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for package in ("edgeops", "device_agent", "fleet_server"):
        shutil.copytree(PROJECT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _LINT, "--no-cache", *arguments]
        # The copy comes first on the path, so that an installed EdgeOps is not what is linted.
        environment = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "COLUMNS": "200"}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    run.folder = folder
    return run


def test_the_rooms_keep_their_contracts(lint):
    result = lint()
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("contract", sorted(SINS))
def test_a_sin_breaks_its_contract(lint, contract):
    file, sin = SINS[contract]
    path = lint.folder / file
    innocent = path.read_text()
    path.write_text(innocent + f"\n{sin}\n")
    try:
        result = lint("--contract", contract)
    finally:
        path.write_text(innocent)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout
