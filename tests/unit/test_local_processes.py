"""Children that are ready when they say so and never outlive their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeops.errors import PlatformError
from edgeops.local import processes

SLEEP = "import time; time.sleep(60)"


def start(logs: Path, code: str, name: str = "child") -> processes.Child:
    return processes.start(name, [sys.executable, "-c", code], logs=logs)


def is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie has ended already."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_children_end_when_their_parent_is_killed(tmp_path):
    parent_code = (
        "import sys, time, pathlib; from edgeops.local import processes\n"
        f"child = processes.start('child', [sys.executable, '-c', {SLEEP!r}], logs=pathlib.Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(child))


def test_a_child_that_ends_before_it_is_ready_shows_its_last_words(tmp_path):
    child = start(tmp_path, "print('one', flush=True); raise SystemExit('the port is taken')")
    with pytest.raises(PlatformError, match=r"(?s)exit code 1.*one.*the port is taken"):
        processes.wait_until_ready(child, lambda: False, timeout_s=10)


def test_a_child_that_is_never_ready_is_an_error_with_its_log(tmp_path):
    child = start(tmp_path, f"print('still waiting', flush=True); {SLEEP}")
    try:
        wait_until(lambda: processes.tail(child.log) == ["still waiting"])
        with pytest.raises(PlatformError, match=r"(?s)not ready within 0.1 s.*still waiting"):
            processes.wait_until_ready(child, lambda: False, timeout_s=0.1)
    finally:
        processes.stop([child])


def test_a_child_that_ignores_the_polite_signal_is_killed(tmp_path):
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
    child = start(tmp_path, code)
    wait_until(lambda: processes.tail(child.log) == ["deaf"])
    processes.stop([child], timeout_s=0.2)
    assert child.process.returncode == -signal.SIGKILL


def test_a_child_that_follows_is_not_killed(tmp_path):
    child = start(tmp_path, SLEEP)
    processes.stop([child])
    assert child.process.returncode == -signal.SIGTERM
    assert "SIGTERM" in processes.describe_end(child)


def test_waiting_ends_when_what_it_needs_has_ended(tmp_path):
    needed = start(tmp_path, "raise SystemExit('no memory')", name="link")
    child = start(tmp_path, SLEEP)

    def require_needed() -> None:
        processes.require_running(needed)

    try:
        for wait in (
            lambda: processes.wait_until_ready(child, lambda: False, timeout_s=60, meanwhile=require_needed),
            lambda: processes.wait_until_done(child, timeout_s=60, meanwhile=require_needed),
        ):
            with pytest.raises(PlatformError, match=r"(?s)^link .*exit code 1.*no memory"):
                wait()
    finally:
        processes.stop([child])


def test_the_log_that_a_program_writes_by_itself_is_shown_too(tmp_path):
    own = tmp_path / "own.log"
    code = f"print('out'); open({str(own)!r}, 'w').write('the port is taken'); raise SystemExit(1)"
    child = processes.start("broker", [sys.executable, "-c", code], logs=tmp_path / "logs", own_log=own)
    with pytest.raises(PlatformError, match=r"(?s)exit code 1.*broker\.log:\n  \| out\n.*own\.log:\n  \| the port"):
        processes.wait_until_done(child, timeout_s=10)


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "logs").touch()
    with pytest.raises(PlatformError, match=r"cannot start child .*logs"):
        start(tmp_path / "logs", SLEEP)


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PlatformError, match="/no/such/program"):
        processes.start("child", ["/no/such/program"], logs=tmp_path)


def test_the_log_of_the_run_before_is_kept(tmp_path):
    for words in ("first", "second"):
        processes.wait_until_done(start(tmp_path, f"print({words!r})"), timeout_s=10)
    assert (tmp_path / "child.previous.log").read_text() == "first\n"
    assert (tmp_path / "child.log").read_text() == "second\n"


def test_a_short_program_that_fails_says_so(tmp_path):
    with pytest.raises(PlatformError, match=r"(?s)exit code 3"):
        processes.wait_until_done(start(tmp_path, "raise SystemExit(3)"), timeout_s=10)


def test_a_short_program_that_hangs_is_ended(tmp_path):
    child = start(tmp_path, SLEEP)
    with pytest.raises(PlatformError, match="did not end within"):
        processes.wait_until_done(child, timeout_s=0.1)
    assert not child.running


def test_ctrl_c_at_the_terminal_reaches_the_parent_alone(tmp_path):
    child = start(tmp_path, SLEEP)
    try:
        assert os.getpgid(child.pid) != os.getpgid(0)
    finally:
        processes.stop([child])


def test_a_file_in_the_callers_folder_does_not_shadow_a_module(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    child = processes.start("child", processes.python("json.tool", "--help"), logs=tmp_path / "logs")
    processes.wait_until_done(child, timeout_s=10)


def test_a_held_child_begins_when_it_is_released(tmp_path):
    code = "import sys; print('loaded', flush=True); sys.stdin.read(); print('begun')"
    child = processes.start("child", [sys.executable, "-c", code], logs=tmp_path, held=True)
    wait_until(lambda: processes.tail(child.log) == ["loaded"])
    with pytest.raises(PlatformError, match="not ready within"):
        processes.wait_until_ready(child, lambda: not child.running, timeout_s=0.2)
    child.release()
    processes.wait_until_done(child, timeout_s=10)
    assert processes.tail(child.log) == ["loaded", "begun"]
