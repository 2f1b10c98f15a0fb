"""`edgeops` before anything is known to be installed."""

import os
import subprocess
import sys
from pathlib import Path

from edgeops import __version__

PROJECT = Path(__file__).resolve().parents[2]


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the entry with the standard library alone: -S leaves site-packages out."""
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r}); sys.argv[1:] = {list(arguments)!r}\n"
        "from edgeops.cli.entry import main; sys.exit(main())"
    )
    return subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)


def test_without_the_extra_it_says_what_to_install_and_exits_2():
    ended = bare("devices", "list")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "pip install 'edgeops[cli]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_version_needs_no_extra():
    ended = bare("--version")
    assert (ended.returncode, ended.stdout) == (0, f"edgeops {__version__}\n")


def test_the_installed_command_knows_its_version():
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"edgeops {__version__}\n"


def test_a_shell_completes_commands():
    words = {"_EDGEOPS_COMPLETE": "complete_bash", "COMP_WORDS": "edgeops rollout st", "COMP_CWORD": "2"}
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry"], capture_output=True, text=True, check=True, env=os.environ | words
    )
    assert ended.stdout.split() == ["status"]
    shown = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry", "--show-completion", "bash"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_EDGEOPS_COMPLETE=complete_bash" in shown.stdout
