"""What people, files and devices say a sample is, and what of that a model may learn from.

Every label keeps who said it, how and when; nothing is overwritten. Of each author the newest word counts.
Authors who differ make a sample disputed, until more than half of them agree: one corrects himself, or
another one speaks. A device's feedback is heard only where no person spoke, it is capped, and it may be
learnt from but never judged on. This module keeps no rows and reads no samples.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from edgeops import limits

#: The columns that an imported file needs; others are ignored, so that an exported queue comes back filled in.
CSV_COLUMNS = ("sample_id", "label")


class LabelSource(StrEnum):
    """How a label came."""

    #: Typed by a person (CLI, dashboard).
    PERSON = "person"
    #: A row of an imported file.
    CSV = "csv"
    #: Another program through the API.
    API = "api"
    #: A device told how its own answer turned out.
    FEEDBACK = "feedback"


@dataclass(frozen=True, slots=True)
class Statement:
    """Who said what of one sample."""

    sample_id: str
    #: The device that the sample came from.
    device_id: str
    label: str
    source: LabelSource
    #: Name of a token; of feedback, the device.
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Agreed:
    """A sample has this label."""

    label: str
    source: LabelSource
    #: The newest word of those who agree.
    at: datetime


@dataclass(frozen=True, slots=True)
class Disputed:
    """No label has more than half of the authors behind it."""

    #: What each author said last.
    words: Mapping[str, str]

    def __str__(self) -> str:
        return "; ".join(f"{author} says {label!r}" for author, label in sorted(self.words.items()))


@dataclass(frozen=True, slots=True)
class TrainingLabel:
    """A label that a model may learn from."""

    sample_id: str
    device_id: str
    label: str
    source: LabelSource
    at: datetime

    @property
    def may_judge(self) -> bool:
        """Whether it may enter an evaluation or acceptance set: what a device says of itself may not."""
        return self.source is not LabelSource.FEEDBACK


@dataclass(frozen=True, slots=True)
class Given:
    """A label as somebody handed it in."""

    sample_id: str
    label: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A label that was not taken, and why."""

    sample_id: str
    reason: str


# -- what a sample is ---------------------------------------------------------------------


def settle(statements: Iterable[Statement]) -> Agreed | Disputed | None:
    """What the statements about one sample, oldest first, amount to; None = nobody spoke."""
    heard = list(statements)
    people = [one for one in heard if one.source is not LabelSource.FEEDBACK]
    newest = {one.author: one for one in people or heard}
    if not newest:
        return None
    label, votes = Counter(one.label for one in newest.values()).most_common(1)[0]
    if 2 * votes <= len(newest):
        return Disputed({author: one.label for author, one in newest.items()})
    last = max((one for one in newest.values() if one.label == label), key=lambda one: one.at)
    return Agreed(label, last.source, last.at)


def check(label: str, classes: Collection[str]) -> str | None:
    """Why `label` cannot be taken for a model of these classes, in words; None = it can."""
    if label in classes:
        return None
    if not classes:
        return "the model has no classes, so it takes no labels"
    return f"{label[:80]!r} is none of the classes {', '.join(sorted(classes)[:20])}"


def without_contradictions(labels: Sequence[Given]) -> tuple[list[Given], list[Refused]]:
    """The labels that one request may give: each sample once, in order; a sample with two labels is refused."""
    said: dict[str, dict[str, Given]] = defaultdict(dict)
    for one in labels:
        said[one.sample_id].setdefault(one.label, one)
    good = [next(iter(words.values())) for words in said.values() if len(words) == 1]
    refused = [
        Refused(sample_id, f"labelled {' and '.join(repr(label[:80]) for label in words)} in one request; send one")
        for sample_id, words in said.items()
        if len(words) > 1
    ]
    return good, refused


# -- what a model may learn from ----------------------------------------------------------


def trainable(statements: Iterable[Statement], *, without_devices: Collection[str] = ()) -> tuple[TrainingLabel, ...]:
    """The agreed labels, by sample id, without some devices' samples and with feedback capped."""
    of_sample: dict[str, list[Statement]] = defaultdict(list)
    for one in statements:
        if one.device_id not in without_devices:
            of_sample[one.sample_id].append(one)
    agreed = []
    for sample_id, words in sorted(of_sample.items()):
        outcome = settle(words)
        if isinstance(outcome, Agreed):
            agreed.append(TrainingLabel(sample_id, words[0].device_id, outcome.label, outcome.source, outcome.at))
    return cap_feedback(agreed)


def cap_feedback(labels: Sequence[TrainingLabel]) -> tuple[TrainingLabel, ...]:
    """All labels by people, and the newest feedback within its shares of what is left together.

    At most `FEEDBACK_SHARE` of the result is feedback, at most `FEEDBACK_SHARE_PER_DEVICE` that of one device;
    where no person labelled, none is.
    """
    people = [one for one in labels if one.may_judge]
    feedback: dict[str, list[TrainingLabel]] = defaultdict(list)
    for one in sorted(labels, key=lambda one: (one.at, one.sample_id), reverse=True):
        if not one.may_judge:
            feedback[one.device_id].append(one)
    most = int(len(people) * limits.FEEDBACK_SHARE / (1 - limits.FEEDBACK_SHARE))
    kept = most
    while True:
        each = int((len(people) + kept) * limits.FEEDBACK_SHARE_PER_DEVICE)
        fitting = min(most, sum(min(each, len(words)) for words in feedback.values()))
        if fitting >= kept:
            break
        kept = fitting  # less of the whole leaves less to each: down to the largest that holds
    newest = sorted(
        (one for words in feedback.values() for one in words[:each]),
        key=lambda one: (one.at, one.sample_id),
        reverse=True,
    )
    chosen = {one.sample_id for one in (*people, *newest[:kept])}
    return tuple(one for one in labels if one.sample_id in chosen)


# -- files --------------------------------------------------------------------------------


def read_csv(text: str) -> tuple[list[Given], list[Refused]]:
    """The labels in a file with the columns `sample_id` and `label`, and its lines that hold none.

    A row whose label is empty was not labelled yet: it is neither.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    good: list[Given] = []
    refused: list[Refused] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in CSV_COLUMNS if name not in header]
        if missing:
            return [], [Refused("", f"line 1: no column {' and '.join(missing)}; expected {','.join(CSV_COLUMNS)}")]
        places = {name: header.index(name) for name in (*CSV_COLUMNS, "remark") if name in header}
        for row in reader:
            cells = {name: row[place].strip() if place < len(row) else "" for name, place in places.items()}
            if cells["sample_id"] and cells["label"]:
                good.append(Given(cells["sample_id"], cells["label"], cells.get("remark", "")))
            elif cells["label"]:
                refused.append(Refused("", f"line {reader.line_num}: a label without sample_id"))
    except csv.Error as error:
        refused.append(Refused("", f"line {reader.line_num}: not CSV ({error}); nothing was read from there on"))
    return good, refused
