"""docs/api.md: its requests and commands are run in their order, and answered as it says."""

import json
import re
import shlex
import shutil
from pathlib import Path

import httpx
import pytest

from edgeops.api.roles import RIGHTS, Right, Role
from edgeops.cli.app import run
from edgeops.protocol.keys import SigningKey
from fleet_server.freshness import Freshness
from tests.contract.rig import DEADLINE_S, ApiRig
from tests.docs.console import commands_in

PAGE = (Path(__file__).resolve().parents[2] / "docs/api.md").read_text()
#: Of an answer: ids, secrets, moments and who asked.
_VARIES = re.compile(r"(?<=enrol_)[\w-]+|\b[0-9a-f]{12}\b|\d{4}-\d\d-\d\dT[0-9:.]+Z|pump-1-[0-9a-f]{4}|ann\b|a admin")


class Person:
    """Runs lines of the page as an admin; `curl` is read here, so that no machine needs it."""

    def __init__(self, rig, folder, capsys):
        self._rig = rig
        self._folder = folder
        self._capsys = capsys
        self._names = {"AUTH": f"Authorization: Bearer {rig.tokens[Role.ADMIN]}", "URL": rig.url}
        self._places = {
            "DATA": str(rig.config.data),
            "DIR": str(folder / "kept"),
            "trail.ndjson": str(folder / "trail"),
        }

    def run(self, line, *, lines):
        """What a line prints; of an answer without end, so many `lines`."""
        words = [self._said(word) for word in shlex.split(line, comments=True)]
        for redirect, mode in ((">>", "a"), (">", "w")):
            if redirect in words:
                *words, _, file = words
                with Path(file).open(mode) as content:
                    content.write(self._output(words, lines))
                return ""
        return self._output(words, lines)

    def _said(self, word):
        for name, value in self._names.items():
            word = word.replace(f"${name}", value)
        for name, value in self._places.items():
            word = word.replace(name, value)
        return word

    def _output(self, words, lines):
        match words:
            case ["echo", text]:
                return f"{text}\n"
            case ["curl", *arguments]:
                return self._curl(arguments, lines)
            case ["edgeops", *arguments]:
                return self._edgeops(arguments)
        raise AssertionError(f"the page has {words}")

    def _edgeops(self, arguments):
        server = [] if "--export" in arguments else ["--url", self._rig.url, "--token", self._rig.tokens[Role.ADMIN]]
        code = run([*arguments, *server])
        written = self._capsys.readouterr()
        assert code == 0, f"{arguments}: {written.err}"
        for webhook in re.findall(r"webhook-[0-9a-f-]+", written.out + written.err):
            self._places["WEBHOOK"] = webhook
        return written.out

    def _curl(self, arguments, lines):
        method, headers, content, url = "GET", {}, None, ""
        rest = iter(arguments)
        for word in rest:
            match word:
                case "-s" | "-sN":
                    pass
                case "-X":
                    method = next(rest)
                case "-H":
                    name, value = next(rest).split(": ", 1)
                    headers[name] = value
                case "-d":
                    content = next(rest)
                case _:
                    url = word
        with httpx.stream(method, url, headers=headers, content=content, timeout=DEADLINE_S) as answer:
            if answer.headers["content-type"].startswith("text/event-stream"):
                told = answer.iter_lines()
                return "\n".join(next(told) for _ in range(lines))
            return json.dumps(json.loads(answer.read()), indent=2)


@pytest.fixture
def person(tmp_path, capsys):
    """Of a fleet with one device and a trail that was signed."""
    rig = ApiRig(tmp_path)
    client = rig.client()
    (token,) = client.enrolment_tokens()
    key = SigningKey.generate().public.hex
    client.enrol(token.token.partition("~")[0], "pump-1", hardware="board", public_key=key)
    Freshness(rig.config, rig.database).keep(rig.now)
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, there in (("root.json", "1.root.json"), ("timestamp.json", "timestamp.json")):
        shutil.copy(rig.config.metadata / there, kept / name)
    yield Person(rig, tmp_path, capsys)
    rig.close()


def shape(lines):
    return [_VARIES.sub("#", line) for line in lines]


def test_every_example_of_the_page_is_answered_as_it_says(person):
    ran = 0
    for kind, block in re.findall(r"```(sh|console)\n(.*?)```", PAGE, re.DOTALL):
        if kind == "sh":
            for line in block.splitlines():
                person.run(line, lines=0)
                ran += 1
            continue
        answers = []
        for command in commands_in(f"```console\n{block}```"):
            printed = person.run(command.line, lines=len(command.prints)).splitlines()
            assert shape(printed) == shape(command.prints), command.line
            answers.append((command.line, printed))
            ran += 1
        repeated = [printed for line, printed in answers if "Idempotency-Key" in line]
        assert len({"\n".join(each) for each in repeated}) <= 1, "the same request got another answer"
    assert ran > 10


def test_the_table_of_roles_is_the_one_of_the_code():
    for role in Role:
        cells = [" yes " if right in RIGHTS[role] else " " for right in Right]
        assert f"| `{role}` |{'|'.join(cells)}|" in PAGE
