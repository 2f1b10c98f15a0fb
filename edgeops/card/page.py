"""A card as one HTML file that asks nobody for anything: no script, no picture, style or font from elsewhere.

It reads the Markdown that cards are written in, not any other; whatever else stands there is shown as text.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from edgeops.card.card import Card
from edgeops.chart import draw_bars

_INLINE = re.compile(r"\\([!-/:-@\[-`{-~])|`([^`]*)`")
_BORDER = re.compile(r"(?<!\\)\|")
_BULLET, _CONTINUED, _SUBHEADING = "- ", "  ", "### "
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; max-width: 46rem; padding: 0 1rem 3rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; border-bottom: 1px solid #ddd; margin-top: 2.2rem }
h3 { font-size: 1rem } code { background: #f2f2f2; overflow-wrap: anywhere; padding: 0 .2em }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; margin: 1rem 0 }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left; vertical-align: top }
svg { height: auto; max-width: 100% } p, li { overflow-wrap: anywhere }
"""


def write_page(card: Card) -> str:
    """The file."""
    body = [f"<h1>{escape(card.title)}</h1>"]
    for section in card.sections:
        body.append(f"<section><h2>{escape(section.title)}</h2>" if section.title else "<section>")
        body += _blocks(section.text)
        body += [draw_bars(one) for one in section.charts]
        body.append("</section>")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(card.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, lists and tables, which empty lines or another kind of line part."""
    for kind, group in groupby(text.split("\n"), key=_kind):
        lines = list(group)
        match kind:
            case "table":
                yield from _table(lines)
            case "list":
                yield from _list(lines)
            case "subheading":
                yield from (f"<h3>{_inline(line.removeprefix(_SUBHEADING))}</h3>" for line in lines)
            case "text":
                yield f"<p>{_inline(' '.join(lines))}</p>"


def _kind(line: str) -> str:
    if not line.strip():
        return "nothing"
    if line.startswith("|"):
        return "table"
    if line.startswith((_BULLET, _CONTINUED)):
        return "list"
    return "subheading" if line.startswith(_SUBHEADING) else "text"


def _table(lines: Sequence[str]) -> Iterator[str]:
    """The first line is its head, the second parts it from the rest."""
    yield '<div class="wide"><table>'
    for number, line in enumerate(lines):
        if number == 1:
            continue
        cell = "td" if number else "th"
        cells = (_inline(one.strip()) for one in _BORDER.split(line)[1:-1])
        yield f"<tr>{''.join(f'<{cell}>{one}</{cell}>' for one in cells)}</tr>"
    yield "</table></div>"


def _list(lines: Sequence[str]) -> Iterator[str]:
    items = list[str]()
    for line in lines:
        if line.startswith(_BULLET) or not items:
            items.append(line.removeprefix(_BULLET).strip())
        else:
            items[-1] += f" {line.strip()}"
    yield f"<ul>{''.join(f'<li>{_inline(one)}</li>' for one in items)}</ul>"


def _inline(text: str) -> str:
    """Text with code in it; a backslash makes text of what follows."""
    shown, end = list[str](), 0
    for found in _INLINE.finditer(text):
        shown.append(escape(text[end : found.start()]))
        shown.append(escape(found[1]) if found[1] else f"<code>{escape(found[2])}</code>")
        end = found.end()
    return "".join([*shown, escape(text[end:])])
