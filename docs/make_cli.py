"""Writes docs/cli.md from the commands themselves; `make docs` runs it, a test checks that it was run."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from device_agent.cli import parser
from edgeops.cli.app import app

PAGE = Path(__file__).with_name("cli.md")

_HEAD = """# Commands

Data goes to stdout, everything else to stderr. Every read has `--json`. Exit codes are in
[operations.md](operations.md#exit-codes). This page is made from the commands themselves by `make docs`.

Commands that talk to a server take `--url`, `--token` and `--data` (or `EDGEOPS_URL`, `EDGEOPS_TOKEN`, `EDGEOPS_DATA`);
by default they use what `edgeops up` left in the data folder.
"""

#: Said once above, or the same everywhere.
_COMMON = frozenset({"help", "url", "token_text", "token", "data"})
#: What means something else with one command.
_OWN = {"edgeops demo": {"data"}}


def page() -> str:
    """The whole page."""
    people = "\n".join(_people(typer.main.get_command(app), "edgeops"))
    device = "\n".join(_device(parser()))
    return f"{_HEAD}\n## `edgeops`\n\n{people}\n## `edgeops-agent`\n\n{device}"


def _people(command: Any, path: str) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is None:
        own = [one for one in command.params if one.name not in _COMMON or one.name in _OWN.get(path, ())]
        yield _entry(path, command.help or "", [_parameter(one) for one in own])
        return
    for name in sorted(children):
        yield from _people(children[name], f"{path} {name}")


def _parameter(parameter: Any) -> tuple[str, str]:
    if parameter.param_type_name == "argument":
        return f"`{str(parameter.name).upper()}`", getattr(parameter, "help", None) or ""
    return ", ".join(f"`{option}`" for option in parameter.opts), parameter.help or ""


def _device(root: argparse.ArgumentParser) -> Iterator[str]:
    for action in root._actions:  # noqa: SLF001 - argparse has no public way to walk a parser
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
        for name, command in sorted(action.choices.items()):
            options = [
                (
                    ", ".join(f"`{option}`" for option in one.option_strings) or str(one.metavar or one.dest).upper(),
                    one.help or "",
                )
                for one in command._actions  # noqa: SLF001
                if one.dest != "help"
            ]
            yield _entry(f"edgeops-agent {name}", summaries.get(name, ""), options)


def _entry(path: str, summary: str, parameters: list[tuple[str, str]]) -> str:
    lines = [f"### {path}", "", " ".join(summary.split())]
    if parameters:
        lines += ["", "| | |", "|---|---|", *(f"| {name} | {' '.join(text.split())} |" for name, text in parameters)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
