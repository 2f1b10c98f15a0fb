"""What bash makes of a line, made a line again."""

import pytest

from edgeops.cli.bash import HEAD, mend_words, whole_words


@pytest.mark.parametrize(
    ("words", "whole", "head"),
    [
        (["edgeops", "publish", "ti"], ["edgeops", "publish", "ti"], ""),
        (["edgeops", "publish", ""], ["edgeops", "publish", ""], ""),
        (["edgeops", "publish", "tiny", "@"], ["edgeops", "publish", "@"], "tiny"),
        (["edgeops", "publish", "tiny", "@", "1"], ["edgeops", "publish", "@1"], "tiny"),
        (["edgeops", "publish", "tiny", "@", "1", ""], ["edgeops", "publish", "tiny@1", ""], ""),
        (["edgeops", "publish", "tiny@1"], ["edgeops", "publish", "tiny@1"], ""),
        (["edgeops", "pin", "--to", "=", "tiny", "@", "1"], ["edgeops", "pin", "--to=@1"], "tiny"),
        (["edgeops", "pin", "--to", "="], ["edgeops", "pin", "--to="], ""),
        (
            ["edgeops", "--url", "http", ":", "//127.0.0.1", ":", "8470", "ed"],
            ["edgeops", "--url", "http://127.0.0.1:8470", "ed"],
            "",
        ),
    ],
)
def test_words_are_whole_but_for_what_is_replaced(words, whole, head):
    assert whole_words(words) == (whole, head)


def test_only_what_is_left_of_the_cursor_counts():
    environment = {
        "_EDGEOPS_COMPLETE": "complete_bash",
        "COMP_WORDS": "edgeops\npublish\ntiny\n@\n--json",
        "COMP_CWORD": "3",
    }
    mend_words(environment)
    assert (environment["COMP_WORDS"], environment["COMP_CWORD"]) == ("edgeops\npublish\n@", "2")
    assert environment[HEAD] == "tiny"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"_EDGEOPS_COMPLETE": "complete_zsh", "COMP_WORDS": "a\n@", "COMP_CWORD": "1"},
        {"_EDGEOPS_COMPLETE": "complete_bash"},
        {"_EDGEOPS_COMPLETE": "complete_bash", "COMP_WORDS": "a\n@", "COMP_CWORD": "one"},
        {"_EDGEOPS_COMPLETE": "complete_bash", "COMP_WORDS": "edgeops rollout st", "COMP_CWORD": "2"},
    ],
)
def test_everything_else_stays_as_it_is(environment):
    before = dict(environment)
    mend_words(environment)
    assert environment == before
