"""The wheel holds what an installed EdgeOps needs, and nothing of the tests or their data."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("edgeops", "device_agent", "fleet_server")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The unpacked wheel, built from a copy so that the source tree stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / file, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


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
