"""What a person typed, put together again from the words that bash makes of it for completion. It completes nothing.

bash ends words also at `@`, `:` and `=` (COMP_WORDBREAKS): `tiny@1` comes as three, and so does `http://127.0.0.1`.
What is offered replaces the last of them; of those that an `@` begins, the `@` too.
"""

from collections.abc import MutableMapping, Sequence

#: Of a word that had an `@` in it: what stands before what is replaced.
HEAD = "_EDGEOPS_COMPLETE_HEAD"

_WORDS, _PLACE = "COMP_WORDS", "COMP_CWORD"
_BREAKS = frozenset("@:=")


def mend_words(environment: MutableMapping[str, str]) -> None:
    """Make of bash's words, where they are handed over, the typed ones as far as the cursor."""
    if environment.get("_EDGEOPS_COMPLETE") != "complete_bash":
        return
    try:
        words = environment[_WORDS].split("\n")[: int(environment[_PLACE]) + 1]
    except (KeyError, ValueError):
        return
    if len(words) < 2:
        return  # not as bash writes them, one a line
    whole, head = whole_words(words)
    environment.update({_WORDS: "\n".join(whole), _PLACE: str(len(whole) - 1), HEAD: head})


def whole_words(words: Sequence[str]) -> tuple[list[str], str]:
    """The words without breaks, of the last one only what is replaced; and what stands before that in it."""
    whole: list[str] = []
    broken = False
    for word in words:
        is_break = bool(word) and _BREAKS.issuperset(word)
        if whole and word and (is_break or broken):
            whole[-1] += word
        else:
            whole.append(word)
        broken = is_break
    if not words[-1] or "@" not in words[-2:]:
        return whole, ""
    before, _, after = whole[-1].rpartition("@")
    option, equals, head = before.rpartition("=")
    return [*whole[:-1], f"{option}{equals}@{after}"], head
