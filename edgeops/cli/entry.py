"""Where `edgeops` begins: answers `--version` and explains a missing extra, with the standard library alone.

It decides nothing else; `edgeops.cli.app` is imported only when all it needs is there.
"""

import sys
from importlib.util import find_spec

from edgeops import __version__

#: What the extra `cli` brings and the commands import.
_NEEDED = ("typer", "rich", "httpx")
_USAGE = 2


def main() -> int:
    """Run the command line of this process and return its exit code."""
    if sys.argv[1:] == ["--version"]:
        print(f"edgeops {__version__}")
        return 0
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(
            f"error: the `edgeops` command needs {', '.join(missing)}; install it: pip install 'edgeops[cli]'\n"
            "  to run a server as well: pip install 'edgeops[server,train]'; the demo: pip install 'edgeops[demo]'",
            file=sys.stderr,
        )
        return _USAGE
    from edgeops.cli.app import run  # noqa: PLC0415 - only now it is known that it can be imported

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
