"""The TUF repository over HTTP, for enrolment and the curious; open, because it proves itself.

Only names that a repository can hold are looked up, so no path leads out of it.
"""

import re
from pathlib import Path

from fastapi import APIRouter, Response

from edgeops.errors import NotFoundError
from fleet_server.api.server import ServerOf

router = APIRouter(prefix="/tuf", tags=["trust"])

#: `auto-` and a model's name is the longest; versions count seconds since 1970 in a repository that was restored
#: (`edgeops.trust.reissue`).
_METADATA = re.compile(r"([1-9][0-9]{0,15}\.)?[a-z][a-z0-9-]{0,71}\.json")
_TARGET = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,200}/){0,8}[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


@router.get("/metadata/{name}", response_class=Response)
def read_metadata(server: ServerOf, name: str) -> Response:
    """One metadata file, under its consistent-snapshot name (TUF specification, 6.1)."""
    if _METADATA.fullmatch(name) is None:
        raise NotFoundError(f"no metadata {name[:80]!r}")
    return _file(server.config.metadata / name)


@router.get("/targets/{path:path}", response_class=Response)
def read_target(server: ServerOf, path: str) -> Response:
    """One target file, under its consistent-snapshot name."""
    if _TARGET.fullmatch(path) is None:
        raise NotFoundError(f"no target {path[:200]!r}")
    return _file(server.config.targets / path)


def _file(path: Path) -> Response:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFoundError(f"{path.name!r} is not in the repository") from error
    return Response(content, media_type="application/json", headers={"Cache-Control": "no-cache"})
