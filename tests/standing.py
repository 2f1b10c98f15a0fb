"""Which tests stand on a database: those whose module, or that of a fixture of theirs, leads to `tests.stores`.

Found in what the modules import, so that no test has to say it. A module that only shares a rig with such tests counts,
too: it decides for whole modules, and asks no test.
"""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_STORES = "tests.stores"
#: For every test, and on no database of its own.
_FOR_ALL = "tests.conftest"


def stands_on_a_database(item):
    """Whether it may have a database of either kind."""
    fixtures = (one.func.__module__ for some in item._fixtureinfo.name2fixturedefs.values() for one in some)
    return any(map(_leads_there, {item.module.__name__, *fixtures}))


def _leads_there(module):
    seen, ahead = {_FOR_ALL}, {module} - {_FOR_ALL}
    while ahead:
        one = ahead.pop()
        if one == _STORES:
            return True
        seen.add(one)
        ahead |= _imports(one) - seen
    return False


@cache
def _imports(module):
    """The modules of ours that it names, wherever it does."""
    if not module.startswith("tests."):
        return frozenset()
    found = set()
    for node in ast.walk(ast.parse(Path(find_spec(module).origin).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tests":
            found |= {node.module} | {f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
    return frozenset(name for name in found if name.startswith("tests.") and _is_there(name))


def _is_there(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a thing of a module
        return False
