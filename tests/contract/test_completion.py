"""TAB, by the protocol that the shells' scripts speak with `edgeops`."""

import os
import socket
import subprocess
import sys
import time

import pytest
import typer

from edgeops.api.roles import Role
from edgeops.cli import completion
from edgeops.cli.app import app, run
from edgeops.cli.bash import HEAD
from tests.contract.loop_rig import DEVICES
from tests.contract.seeds import SeededRig
from tests.unit.drift_rig import DEPLOYMENT

DEADLINE_S = 30.0
#: Parameters of these names say what only the server knows.
NAMED = {
    "device", "rollout", "retraining", "model", "deployment", "dataset", "webhook", "job", "incident", "token_id",
    "key_id", "replaces", "fingerprint", "without", "devices",
}  # fmt: skip


def root_key(rig):
    keys = rig.second.keys()
    return next(one.key_id for one in keys if one.role == "root")


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    rig = SeededRig(tmp_path_factory.mktemp("completion"))
    rig.rollout = rig.operator.order_rollout(rig.seed("POST", "/rollouts")["body"]).id
    rig.second.groups.put("canaries", selector="all")
    yield rig
    rig.close()


def words_in(shell, *words):
    """What the script of a shell says of a line; its last word is the one to complete."""
    return {
        "_EDGEOPS_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": " ".join(words),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        HEAD: "",
    }


@pytest.fixture
def press_tab(rig, monkeypatch, capfd):
    """The lines that a shell gets for these words, asked again while a busy machine is too slow for any."""

    def press(*words, shell="bash", url=rig.url, role=Role.ADMIN, awaited=True):
        ends_at = time.monotonic() + DEADLINE_S
        while True:
            for name, value in words_in(shell, "edgeops", *words).items():
                monkeypatch.setenv(name, value)
            monkeypatch.setenv("EDGEOPS_URL", url)
            monkeypatch.setenv("EDGEOPS_TOKEN", rig.tokens[role])
            assert run([]) == 0
            told = capfd.readouterr()
            assert told.err == ""
            if told.out.split() or not awaited or time.monotonic() > ends_at:
                return told.out.split("\n")[:-1] if told.out.strip() else []

    return press


def test_the_commands_process_completes_devices(rig):
    ends_at = time.monotonic() + DEADLINE_S
    words = words_in("bash", "edgeops", "devices", "show", "edge-")
    server = {"EDGEOPS_URL": rig.url, "EDGEOPS_TOKEN": rig.tokens[Role.VIEWER]}
    while True:
        ended = subprocess.run(
            [sys.executable, "-m", "edgeops.cli.entry"],
            capture_output=True, text=True, check=True, env=os.environ | words | server,
        )  # fmt: skip
        assert ended.stderr == ""
        if ended.stdout.strip() or time.monotonic() > ends_at:
            break
    assert ended.stdout.split() == list(DEVICES)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("why", "edge-2"), ["edge-2"]),
        (("incident", "list", "--device", "edge-3"), ["edge-3"]),
        (("group", "set", "some", "--devices", "edge-1,edge-2"), ["edge-1,edge-2"]),
        (("model", "show", "ti"), ["tiny"]),
        (("publish", "ti"), ["tiny@1"]),
        (("publish", "tiny", "@"), ["@1"]),
        (("devices", "pin", "edge-1", "--to", "=", "tiny", "@", "1"), ["@1"]),
        (("drift", "show", "tiny", "@"), ["@1"]),
        (("rollout", "history", ""), [DEPLOYMENT]),
        (("rollout", "create", "tiny", "@", "1", "--deployment", ""), [DEPLOYMENT]),
        (("group", "show", "can"), ["canaries"]),
        (("dataset", "show", "tiny-"), ["tiny-rows"]),
    ],
)
def test_bash_is_offered_what_fits(press_tab, words, offered):
    assert press_tab(*words) == offered


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("rollout", "pause", "rollout-"), lambda rig: rig.rollout),
        (("rollout", "undo", "some", "--to", ""), lambda rig: rig.rollout),
        (("retrain", "show", ""), lambda rig: rig.retraining),
        (("job", "show", ""), lambda rig: rig.job),
        (("incident", "close", ""), lambda rig: rig.incident),
        (("webhook", "test", ""), lambda rig: rig.webhook),
        (("token", "revoke", ""), lambda rig: next(rig.second.tokens()).id),
        (("key", "revoke", ""), root_key),
        (
            ("key", "ca", "retire", ""),
            lambda rig: rig.second.authorities().authorities[0].fingerprint.removeprefix("sha256:"),
        ),
    ],
)
def test_ids_are_offered(rig, press_tab, words, wanted):
    assert wanted(rig) in press_tab(*words)


def test_a_few_words_stand_beside_a_name_where_the_shell_shows_them(rig, press_tab):
    state = rig.second.rollout(rig.rollout).state
    assert press_tab("rollout", "status", rig.rollout, shell="fish") == [
        f"{rig.rollout}\t{state}, tiny@1 to {DEPLOYMENT}"
    ]


def test_the_options_of_the_line_name_the_server(rig, press_tab):
    scheme, host, port = rig.url.split(":")
    line = ("why", "--url", scheme, ":", host, ":", port, "edge-1")
    assert press_tab(*line, url="http://127.0.0.1:9") == ["edge-1"]


def test_who_may_not_ask_is_offered_nothing(press_tab):
    assert press_tab("token", "revoke", "", role=Role.VIEWER, awaited=False) == []


def test_nothing_of_a_name_reaches_the_shell_as_code(rig, press_tab):
    rig.enrol_device("hostile", name="\\$(reboot) `reboot` '; reboot [/red]\n\x1b[2J: pump")
    offered = press_tab("why", "host", shell="zsh")
    assert offered == ["""_arguments '*: :(("hostile":"reboot reboot reboot /red 2J pump"))'"""]


def test_what_no_shell_takes_as_it_is_is_not_offered():
    names = ["fine", "a b", "a\nb", "$(reboot)", "a:b", "*", "-x", "", "a'b", "é"]
    assert [name for name in names if completion.is_safe(name)] == ["fine"]


def test_without_a_server_nothing_is_offered_at_once(press_tab):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        began = time.monotonic()
        assert press_tab("why", "", url=f"http://127.0.0.1:{taken.getsockname()[1]}", awaited=False) == []
        assert time.monotonic() - began < DEADLINE_S


def test_a_server_that_does_not_answer_is_not_waited_for(press_tab):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert press_tab("why", "", url=f"http://127.0.0.1:{silent.getsockname()[1]}", awaited=False) == []
        assert time.monotonic() - began < DEADLINE_S


def test_a_machine_that_knows_no_server_says_nothing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGEOPS_")}
    ended = subprocess.run(
        [sys.executable, "-m", "edgeops.cli.entry"],
        capture_output=True, text=True, check=True,
        env=environment | words_in("bash", "edgeops", "rollout", "status", "") | {"EDGEOPS_DATA": str(tmp_path)},
    )  # fmt: skip
    assert (ended.stdout.strip(), ended.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def parameters(command, path="edgeops"):
    for name, child in getattr(command, "commands", {}).items():
        yield from parameters(child, f"{path} {name}")
    for one in command.params:
        yield f"{path}: {one.name}", one


def test_every_parameter_that_names_something_of_the_server_is_completed():
    every = {place: one for place, one in parameters(typer.main.get_command(app)) if one.name in NAMED}
    assert len(every) > len(NAMED)
    left = {place for place, one in every.items() if one._custom_shell_complete is None}
    assert left == set()
