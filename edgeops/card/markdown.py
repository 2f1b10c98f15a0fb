"""The Markdown that cards are written in (CommonMark 0.31 with the tables of GFM): what is written, and read back.

Names of other people's making are escaped, so that they stay text whatever shows them.
"""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"[\\|<`*\[]")
_HEADING = re.compile(r"^(#{1,2}) +(.+)$", flags=re.MULTILINE)


def plain(text: str) -> str:
    """Text as itself, on one line: no markup, no column of a table."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells are text, None is empty."""
    lines = [head, ["---"] * len(head), *([_cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(texts: Iterable[str]) -> str:
    """A list; each is Markdown of one line."""
    return "\n".join(f"- {text}" for text in texts)


def read_sections(text: str) -> dict[str, str]:
    """What stands under each heading of the first two levels, in their order."""
    pieces = _HEADING.split(text)
    return {title.strip(): body.strip() for title, body in zip(pieces[2::3], pieces[3::3], strict=True)}


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4g}"
        case _:
            return plain(str(value))
