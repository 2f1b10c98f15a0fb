"""Reads YAML as plain values and remembers the line of each, so that an error can name it. It knows no fleet."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from edgeops import limits
from edgeops.errors import InputError
from edgeops.rollout.objection import Objection


@dataclass(frozen=True, slots=True)
class Source:
    """A document: its values, and where each stands."""

    name: str
    values: Any
    #: JSON pointer -> line, counted from 1.
    lines: dict[str, int]

    def place(self, pointer: str) -> str:
        """`fleet.yaml:12`, the line of the value or of the closest one around it."""
        while pointer not in self.lines and "/" in pointer:
            pointer = pointer.rpartition("/")[0]
        return f"{self.name}:{self.lines.get(pointer, 1)}"

    def refusal(self, objections: list[Objection]) -> InputError:
        """An error that tells all of them, each with its line."""
        told = [f"{self.place(one.pointer)}: {one.pointer}: {one.detail}" for one in objections]
        return InputError("\n".join(told), fields=[(one.pointer, one.detail) for one in objections])


def read_source(text: str, *, name: str) -> Source:
    """Read one YAML document.

    Raises:
        InputError: it is too deep, no YAML, more than one document, has a key twice or an alias.
    """
    try:
        _check_events(text, name)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        reader = _Reader(name, loader)
        values = None if node is None else reader.read(node, "#")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise InputError(f"{name}:{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: not YAML: {error}") from error
    return Source(name, values, reader.lines)


def _check_events(text: str, name: str) -> None:
    """Before anything is put together: what a few bytes can make large, or long to read."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise InputError(f"{name}:{line}: an alias (*{event.anchor}); write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > limits.MAX_FLEET_FILE_DEPTH:
            raise InputError(f"{name}:{line}: more than {limits.MAX_FLEET_FILE_DEPTH} tables or lists in each other")


class _Reader:
    def __init__(self, name: str, loader: yaml.SafeLoader) -> None:
        self._name = name
        self._loader = loader
        self.lines: dict[str, int] = {}

    def read(self, node: yaml.Node, pointer: str) -> Any:
        self.lines.setdefault(pointer, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, pointer)
            case yaml.SequenceNode():
                return [self.read(item, f"{pointer}/{number}") for number, item in enumerate(node.value)]
            case _:
                return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, pointer: str) -> dict[Hashable, Any]:
        values: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise InputError(f"{self._name}:{line}: a key that is no text")
            if key in values:
                raise InputError(f"{self._name}:{line}: {key!r} stands here twice")
            place = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            self.lines[place] = line
            values[key] = self.read(value_node, place)
        return values
