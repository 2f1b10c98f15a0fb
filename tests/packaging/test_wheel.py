"""The wheel holds what an installed EdgeOps needs, and nothing of the tests or their data."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import PACKAGES, PROJECT


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The unpacked wheel."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=installed, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_holds_the_packages_and_the_licence_alone(installed):
    folders = {path.name for path in installed.iterdir()}
    (information,) = (name for name in folders if name.endswith(".dist-info"))
    assert folders - {information} == set(PACKAGES)
    assert list((installed / information).rglob("LICENSE"))
    assert (installed / "edgeops/py.typed").exists()


def test_every_module_of_the_tree_is_in_the_wheel(installed):
    tree = {path.relative_to(PROJECT) for package in PACKAGES for path in (PROJECT / package).rglob("*.py")}
    wheel = {path.relative_to(installed) for package in PACKAGES for path in (installed / package).rglob("*.py")}
    assert wheel == tree


def test_an_installed_server_migrates_its_database(installed, tmp_path):
    code = f"""
import fleet_server
from pathlib import Path
from fleet_server.db.database import Database
from fleet_server.db.migrate import upgrade
assert Path(fleet_server.__file__).is_relative_to({str(installed)!r})
database = Database.in_folder(Path({str(tmp_path)!r}))
upgrade(database)
database.close()
"""
    run(installed, code)
    assert (tmp_path / "control.db").exists()
