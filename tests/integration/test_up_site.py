"""`edgeops up`: a whole site on one machine, and its end."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeops.cli.app import run
from edgeops.errors import ConflictError, PlatformError
from edgeops.local.endpoints import Endpoints, free_port, read_endpoints, write_endpoints
from edgeops.local.up import Site
from tests.integration.waiting import ask_until

pytestmark = [pytest.mark.slow, pytest.mark.processes]

START_TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("up")) as running:
        yield running


def wait_until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def running_processes() -> set[int]:
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}


def command_line(pid: int) -> list[str]:
    """What the system says that a process was started with; nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def parent_of(pid: int) -> int:
    """0 when the process has ended; proc_pid_stat(5), fields 3 and 4."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def descendants(pid: int) -> set[int]:
    """Children, their children, and so on."""
    parents = {one: parent_of(one) for one in running_processes()}
    found: set[int] = set()
    while more := {one for one, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def any_runs(pids: set[int]) -> bool:
    return any(parent_of(pid) for pid in pids)


def start_up(data: Path, *options: str) -> subprocess.Popen[str]:
    """`edgeops up` as a person starts it; returns when it said that it is up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeops.cli.entry", "up", "--data", str(data), *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("EdgeOps is up: http://127.0.0.1:"), process.communicate()
    return process


def test_three_agents_are_three_processes_of_the_system(site):
    pids = [agent.child.pid for agent in site.agents]
    assert len(set(pids)) == 3
    for agent in site.agents:
        assert "device_agent.cli" in command_line(agent.child.pid)
        assert str(agent.state) in command_line(agent.child.pid)


def test_every_agent_is_enrolled_and_online(site):
    devices = {device.id: device for device in site.client.devices()}
    assert set(devices) == {agent.device_id for agent in site.agents}
    assert {device.presence for device in devices.values()} == {"online"}
    assert all(device.facts is not None and device.facts.runtime for device in devices.values())


def test_the_command_line_finds_the_server_of_the_folder(site, capsys):
    assert run(["devices", "list", "--json", "--data", str(site.data)]) == 0
    captured = capsys.readouterr()
    assert {one["id"] for one in json.loads(captured.out)} == {agent.device_id for agent in site.agents}
    assert captured.err == ""


@pytest.mark.parametrize(
    "command",
    ["dataset list", "model list", "rollout list", "devices list", "key list", "token list", "job list"],
)
def test_every_list_is_one_json_document_and_a_table(site, capsys, command):
    assert run([*command.split(), "--json", "--data", str(site.data)]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    assert run([*command.split(), "--data", str(site.data)]) == 0
    assert capsys.readouterr().out.strip()


def test_all_keys_are_listed_with_the_place_of_their_private_halves(site, capsys):
    assert run(["key", "list", "--json", "--data", str(site.data)]) == 0
    keys = json.loads(capsys.readouterr().out)
    assert {key["role"] for key in keys} == {"root", "targets", "snapshot", "timestamp", "fleet"}
    assert {key["private"] for key in keys} == {str(site.data / "keys")}
    assert all("PRIVATE" not in json.dumps(key) for key in keys)


def test_a_token_opens_what_its_role_allows_and_nothing_after_it_is_revoked(site, capsys):
    assert run(["token", "create", "dashboard", "--role", "viewer", "--json", "--data", str(site.data)]) == 0
    token = json.loads(capsys.readouterr().out)
    as_viewer = ["--url", site.endpoints.url, "--token", token["token"]]
    assert run(["devices", "list", *as_viewer]) == 0
    assert run(["devices", "token", *as_viewer]) == 4
    assert run(["token", "revoke", token["id"], "--data", str(site.data)]) == 0
    assert run(["devices", "list", *as_viewer]) == 4


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [
        ("devices show nobody-0000", 3, "nobody-0000"),
        ("model show nothing", 3, "nothing"),
        ("model show nothing@1", 3, "nothing"),
        ("job show job-none", 3, "job-none"),
        ("rollout status rollout-none", 3, "rollout-none"),
        ("rollout create nothing@1 --deployment digits", 3, "nothing"),
        ("train nothing", 3, "nothing"),
    ],
)
def test_what_does_not_exist_is_named_and_exits_3(site, capsys, command, code, named):
    assert run([*command.split(), "--data", str(site.data)]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert named in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("a,b\n1,2\n", "species"),
        ("a,species\n1,x\nlong,y\n", "line 3"),
        ("", "empty"),
        ("a,species\n" + "1,x\n" * 40, "one class only"),
    ],
)
def test_a_file_that_cannot_be_learnt_from_is_refused_with_the_place(site, tmp_path, capsys, content, named):
    file = tmp_path / "flowers.csv"
    file.write_text(content)
    assert run(["dataset", "import", str(file), "--label", "species", "--data", str(site.data)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "flowers.csv" in last
    assert named in last
    assert run(["dataset", "show", "flowers", "--data", str(site.data)]) == 3


def test_a_second_up_in_the_same_folder_learns_who_holds_it(site):
    with pytest.raises(ConflictError, match=f"process {os.getpid()}"), Site(site.data):
        pass


def occupied(port):
    """A listener of another program; None while the mosquitto of a killed broker process still ends."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


@pytest.mark.long
def test_a_process_that_cannot_live_ends_the_site_with_its_last_words(tmp_path):
    told = []
    with Site(tmp_path, agents=0, say=told.append) as running:
        broker = next(part for part in running.server if part.child.name == "broker")
        broker.child.process.kill()
        broker.child.process.wait()
        with (
            ask_until(lambda: occupied(running.endpoints.broker_port), what="the broker's port is free", seconds=30),
            pytest.raises(PlatformError, match=r"(?s)broker ended 5 times within .*Address already in use"),
        ):
            running.watch()
    assert len(told) == 4
    assert "was ended by SIGKILL; it starts again in 0.5 s" in told[0]


def test_a_start_that_fails_names_the_process_that_ended_and_leaves_nothing(tmp_path):
    """The lock of the link is held, so that it ends; what waits for it are the agents."""
    (tmp_path / "db").mkdir()
    before = descendants(os.getpid())
    with (tmp_path / "db/link.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Who waited for the agents instead would be told of their time.
        with pytest.raises(PlatformError, match=r"(?s)^link .* ended with exit code 2; .*another link"), Site(tmp_path):
            pass
    assert descendants(os.getpid()) <= before


def test_a_port_that_another_program_took_is_told_and_another_one_taken(tmp_path):
    told = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = other.getsockname()[1], free_port()
        (tmp_path / "run").mkdir()
        write_endpoints(
            tmp_path, Endpoints(url=f"http://127.0.0.1:{taken}", broker_host="127.0.0.1", broker_port=free, pid=1)
        )
        with Site(tmp_path, agents=0, say=told.append) as running:
            assert running.client.health().status == "ok"
            assert told == [f"another program took port {taken}: the api has moved to {running.endpoints.api_port}"]
            assert running.endpoints.broker_port == free
            assert read_endpoints(tmp_path) == running.endpoints


@pytest.mark.parametrize("victim", ["api", pytest.param("broker", marks=pytest.mark.long)])
def test_a_port_that_another_program_takes_during_the_start_ends_it_with_the_port_named(tmp_path, victim):
    """It answers there, but it is not ours: nothing is sent to it."""
    ports = {"api": free_port(), "broker": free_port()}
    (tmp_path / "run").mkdir()
    url = f"http://127.0.0.1:{ports['api']}"
    write_endpoints(tmp_path, Endpoints(url=url, broker_host="127.0.0.1", broker_port=ports["broker"], pid=1))
    with ExitStack() as stack:

        def take(other: socket.socket) -> None:
            ask_until((tmp_path / "run/logs/init.log").exists, what="the ports are chosen", seconds=30)
            other.bind(("127.0.0.1", ports[victim]))
            other.listen()

        other = stack.enter_context(socket.socket())
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief = threading.Thread(target=take, args=(other,))
        thief.start()
        stack.callback(thief.join)
        with pytest.raises(PlatformError, match=rf"(?s)^{victim} .* ended with exit code .*Address already in use"):
            stack.enter_context(Site(tmp_path, agents=0))
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()


@pytest.mark.parametrize(
    "command",
    [pytest.param(("up", "--data"), id="up"), pytest.param(("demo", "--site"), id="demo", marks=pytest.mark.long)],
)
@pytest.mark.parametrize(
    ("wrong", "code", "line"),
    [
        ("broker", 1, "error: EDGEOPS_MOSQUITTO=/no/mosquitto is no program; name the mosquitto binary, or unset it"),
        (
            "folder",
            2,
            "error: cannot make the data folder {data}: File exists; name another with --data or EDGEOPS_DATA",
        ),
        ("run", 2, "error: cannot use the data folder {data}: [Errno 17] File exists: '{data}/run'; "),
    ],
)
def test_a_start_that_cannot_be_is_one_line(tmp_path, command, wrong, code, line):
    data, environment = tmp_path / "data", dict(os.environ)
    if wrong == "broker":
        environment["EDGEOPS_MOSQUITTO"] = "/no/mosquitto"
    elif wrong == "folder":
        data.touch()
    else:
        data.mkdir()
        (data / "run").touch()
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry", *command, str(data)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    told = [one for one in ended.stderr.splitlines() if not one.startswith("scenario ")]
    assert (ended.returncode, ended.stdout, len(told)) == (code, "", 1)
    assert told[0].startswith(line.format(data=data))
    assert not any(str(data) in command_line(pid) for pid in running_processes())


def test_a_demo_that_cannot_start_leaves_no_folder(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry", "demo"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "EDGEOPS_MOSQUITTO": "/no/mosquitto"},
    )  # fmt: skip
    assert ended.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_every_child_and_a_new_start_keeps_ports_and_devices(tmp_path):
    first = start_up(tmp_path, "--agents", "1")
    endpoints = read_endpoints(tmp_path)
    assert endpoints is not None
    assert endpoints.pid == first.pid
    children = descendants(first.pid)
    assert len(children) >= 5
    first.send_signal(signal.SIGINT)
    try:
        _, error = first.communicate(timeout=START_TIMEOUT_S)
    finally:
        first.kill()
    assert (first.returncode, "Traceback" in error) == (0, False)
    assert not any_runs(children)

    with Site(tmp_path, agents=1) as again:
        assert again.endpoints.url == endpoints.url
        assert again.endpoints.broker_port == endpoints.broker_port
        assert [device.id for device in again.client.devices()] == [again.agents[0].device_id]


def test_kill_9_of_up_ends_every_child_and_a_new_start_works_each_time(tmp_path):
    for _ in range(2):
        parent = start_up(tmp_path, "--agents", "1")
        endpoints, children = read_endpoints(tmp_path), descendants(parent.pid)
        assert len(children) >= 5
        parent.kill()
        parent.communicate()
        wait_until(lambda gone=children: not any_runs(gone))
        assert (tmp_path / "broker/pid").exists(), "the broker tidied up"
    with Site(tmp_path, agents=1) as again:
        assert again.endpoints.url == endpoints.url
        devices = {device.id: device.presence for device in again.client.devices()}
    assert devices == {again.agents[0].device_id: "online"}
