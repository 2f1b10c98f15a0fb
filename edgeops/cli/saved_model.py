"""A SavedModel folder as one file, for an upload: the same folder gives the same bytes."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeops.errors import InputError

#: The oldest date a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)


@contextmanager
def packed(path: Path) -> Iterator[Path]:
    """`path` itself, or of a folder a zip that lives as long as the context.

    Raises:
        InputError: the folder is no SavedModel, or a file of it cannot be read.
    """
    if not path.is_dir():
        yield path
        return
    if not (path / "saved_model.pb").is_file():
        raise InputError(
            f"{path} is no SavedModel: it has no saved_model.pb; save one with model.export({str(path)!r})"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{path.resolve().name}.zip"
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for member in sorted(one for one in path.rglob("*") if one.is_file()):
                    info = zipfile.ZipInfo(member.relative_to(path).as_posix(), _DATE)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(info, member.read_bytes())
        except OSError as error:
            raise InputError(f"cannot read the folder {path}: {error}") from error
        yield file
