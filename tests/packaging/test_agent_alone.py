"""A device installs `edgeops[agent]` and nothing else, and goes through a whole update with it."""

import re
import subprocess
import sys

import pytest

from tests.integration.agent_rig import DEPLOYMENT, Rig, eventually
from tests.packaging.conftest import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

#: What belongs to the server, to training or to the command line, and tuf, which only a child loads.
FOREIGN = ("tensorflow", "keras", "pydantic", "typer", "rich", "tuf", "sqlalchemy", "fastapi", "httpx", "jinja2")


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment with the agent alone."""
    folder = tmp_path_factory.mktemp("device") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    installed = subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "-c",
            PROJECT / "constraints.txt",
            f"edgeops[agent] @ {wheel.as_uri()}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert installed.returncode == 0, installed.stderr
    return python


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_an_agent_with_its_extra_alone_goes_through_an_update_and_loads_nothing_foreign(python, rig, tmp_path):
    first, first_target = rig.server.publish_model(version=1)
    second, second_target = rig.server.publish_model(version=2)
    rig.play(2_000, rate_hz=200, loop=True)
    log = tmp_path / "imports"
    with log.open("wb") as file:
        command = [python, "-P", "-X", "importtime", "-m", "device_agent.cli", "--state", str(rig.state.path), "run"]
        rig.agent = subprocess.Popen(command, cwd=tmp_path, stdout=file, stderr=file)
    for revision, (digest, target) in enumerate(((first, first_target), (second, second_target)), start=1):
        rig.server.desire(revision, (DEPLOYMENT, digest, target))
        eventually(lambda digest=digest: rig.committed(digest), what="the model is committed")
    assert rig.stop_agent() == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in log.read_text().splitlines()}
    assert {"device_agent", "numpy", "paho"} <= imported
    assert not imported & set(FOREIGN)


def test_what_the_extra_brings_is_small(python):
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {re.split("==| @ ", line)[0].lower() for line in listed.stdout.splitlines()}
    assert "edgeops" in names
    assert not names & {name for name in FOREIGN if name != "tuf"}
