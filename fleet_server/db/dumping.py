"""A PostgreSQL database as one file, and back: by PostgreSQL's own `pg_dump` and `pg_restore`.

A dump is of one moment, and writers go on meanwhile. Both programs find passwords where libpq does. It does not know
what the rows mean.
"""

import subprocess
from pathlib import Path

from sqlalchemy import Engine, inspect

from edgeops.errors import ConflictError, PlatformError

#: Another server has other roles.
_NOBODYS = ("--no-owner", "--no-privileges")


def dump(url: str, target: Path) -> None:
    """Write all that the database at `url` holds now to `target`.

    Raises:
        PlatformError: `pg_dump` is not there, or could not.
    """
    _run("pg_dump", "--format=custom", *_NOBODYS, f"--file={target}", f"--dbname={url}")


def load(url: str, source: Path) -> None:
    """Put what `dump` wrote into the empty database at `url`: all of it, or nothing.

    Raises:
        PlatformError: `pg_restore` is not there, or could not.
    """
    _run("pg_restore", "--exit-on-error", "--single-transaction", *_NOBODYS, f"--dbname={url}", str(source))


def require_empty(engine: Engine) -> None:
    """Refuse a database that holds tables.

    Raises:
        ConflictError: it does.
    """
    found = inspect(engine).get_table_names()
    if found:
        raise ConflictError(
            f"the database that --database or EDGEOPS_DATABASE names is not empty: it holds {len(found)} tables; "
            "make one of its own for what is restored: createdb NAME"
        )


def _run(program: str, *arguments: str) -> None:
    try:
        done = subprocess.run((program, *arguments), check=False, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as error:
        raise PlatformError(
            f"no {program} on PATH; it comes with PostgreSQL's client programs (Debian: postgresql-client), as new as "
            "the server or newer"
        ) from error
    if done.returncode:
        said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise PlatformError(f"{program} failed: {said}")
