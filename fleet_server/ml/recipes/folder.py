"""The recipes that the owner of this server put into its folder, one Python file each, read and not run.

What runs them is `fleet_server.ml.recipes.own`, in the child process that trains.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.digest import digest_bytes
from edgeops.errors import ConfigError
from fleet_server.ml.recipes.names import RecipeName

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_SUFFIX = ".py"
_OPTIONS, _TASKS = "OPTIONS", "TASKS"
#: What a file is for that does not say it.
USUAL_TASKS = frozenset({Task.CLASSIFICATION, Task.REGRESSION})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """What a file says of itself, and the very bytes that said it."""

    name: str
    path: Path
    source: bytes
    #: First line of its docstring.
    about: str
    tasks: frozenset[Task]
    options: frozenset[str]
    #: Where its functions begin, by name.
    lines: dict[str, int]

    @property
    def digest(self) -> str:
        """Of the file: what a model's lineage names."""
        return digest_bytes(self.source)


def recipe_names(folder: Path) -> list[str]:
    """Of all files in the folder, sound or not; those that begin with a dot or an underscore are none."""
    return sorted(one.stem for one in folder.glob(f"[!._]*{_SUFFIX}") if one.is_file())


def recipe_files(folder: Path) -> list[Path]:
    """Those of them that a training could name, sound or not."""
    return [recipe_file(folder, name) for name in recipe_names(folder) if _NAME.fullmatch(name)]


def read_recipe(folder: Path, name: str) -> RecipeFile:
    """The file of a name.

    Raises:
        ConfigError: it is not there, is no Python, lacks what a recipe has, or says of itself what cannot be.
    """
    path = recipe_file(folder, name)
    if not _NAME.fullmatch(name) or name in set(RecipeName):
        taken = "is one of EdgeOps" if name in set(RecipeName) else "is no name of small letters, digits, - and _"
        raise ConfigError(f"{name[:80]!r} {taken}; give the recipe's file another name")
    try:
        with path.open("rb") as file:
            source = file.read(limits.MAX_RECIPE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"no recipe {name!r}: {path} cannot be read ({error.strerror}); see edgeops recipe list"
        ) from None
    if len(source) > limits.MAX_RECIPE_BYTES:
        raise ConfigError(f"{path.name} is larger than {limits.MAX_RECIPE_BYTES} bytes; a recipe is a small file")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ConfigError(f"{path.name}, line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{path.name} is no Python: {error}") from error
    lines = {node.name: node.lineno for node in tree.body if isinstance(node, ast.FunctionDef)}
    if missing := {"plan", "network"} - set(lines):
        raise ConfigError(f"{path.name} defines no {' and no '.join(sorted(missing))}; a recipe has both functions")
    options = _words(tree, _OPTIONS, path.name) or ()
    tasks = _words(tree, _TASKS, path.name)
    if unknown := set(tasks or ()) - set(Task):
        raise ConfigError(f"{path.name}: {_TASKS} has {min(unknown)!r}; there are {', '.join(Task)}")
    return RecipeFile(
        name=name,
        path=path,
        source=source,
        about=(ast.get_docstring(tree) or "").partition("\n")[0],
        tasks=USUAL_TASKS if tasks is None else frozenset(map(Task, tasks)),
        options=frozenset(options),
        lines=lines,
    )


def recipe_file(folder: Path, name: str) -> Path:
    """Where a recipe of that name is."""
    return folder / f"{name}{_SUFFIX}"


def last_line(file: Path, last_words: str) -> str:
    """Where in a file a child process was when it ended, in words; "" = its last words (`faulthandler`) do not say."""
    found = re.search(rf'^ +File "{re.escape(str(file))}", line (\d+) in (.+)$', last_words, re.MULTILINE)
    return "" if found is None else f", line {found[1]}, in {found[2]}"


def _words(tree: ast.Module, name: str, file: str) -> tuple[str, ...] | None:
    """What `NAME = ("a", "b")` at the top of a file holds; None = there is no such line."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                targets = [target]
            case _:
                continue
        if any(isinstance(one, ast.Name) and one.id == name for one in targets):
            try:
                found = ast.literal_eval(value)
            except (ValueError, TypeError):
                found = None
            # A comma is easily forgotten, and of a word the letters would be taken.
            if not isinstance(found, tuple | list | set) or not all(isinstance(word, str) for word in found):
                raise ConfigError(
                    f'{file}, line {node.lineno}: write {name} as ("one", "another"), or ("one",), to be read'
                )
            return tuple(found)
    return None
