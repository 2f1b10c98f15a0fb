"""Samples that devices nominated, the queue of those that were chosen, and their labels."""

import math
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from edgeops import limits
from edgeops.api.shapes.shape import Answer, Id, Number, Remark, Request, Text


class Sample(Answer):
    """An input that a device nominated for a label."""

    id: str
    device_id: str
    deployment: str
    #: The artifact that answered.
    digest: str
    nomination: str
    input_id: str
    answered_at: AwareDatetime
    received_at: AwareDatetime
    #: Class index, value or score.
    answer: Number
    #: The answer's label, for classifiers whose artifact the server knows.
    label: str | None = None
    confidence: Number
    #: Inputs of the device's pool that it stands for.
    weight: float
    #: Drawn at random, not chosen.
    by_chance: bool
    #: What a shadow, the model before this one, answered to the same input; null where none did.
    shadow_answer: Number | None = None
    shadow_label: str | None = None
    #: Names of the readings in a row; none when this server does not know the artifact.
    columns: tuple[str, ...] = ()
    readings: Annotated[
        tuple[tuple[float | None, ...], ...] | None,
        Field(description="Rows of raw readings, null = missing; null in lists, which leave them out."),
    ] = None


_LabelText = Annotated[Text, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class QueuedSample(Answer):
    """A sample that was chosen for a label."""

    sample_id: str
    model: str
    #: The retraining or rollout that asks.
    asker: str
    device_id: str
    deployment: str
    input_id: str
    #: Place in the order in which labels help most, from 0.
    position: int
    #: Drawn at random, not chosen.
    by_chance: bool
    #: open, labelled, disputed or dropped.
    state: str
    requested_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    #: What the model said; null when this server does not know the artifact any more.
    answer: str | None = None
    confidence: Number = math.nan
    #: Where the readings are.
    readings: str


class NewLabel(Request):
    """What somebody says a sample is."""

    sample_id: Annotated[Text, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
    #: One of the model's classes.
    label: _LabelText
    remark: Remark = ""


class LabelsRequest(Request):
    """Labels of samples, of one model or of several."""

    labels: Annotated[tuple[NewLabel, ...], Field(min_length=1, max_length=limits.MAX_LABELS_PER_REQUEST)]
    #: `person` = somebody looked at each; `api` = another program said so.
    source: Literal["person", "api"] = "api"


class RefusedLabel(Answer):
    """A label that was not taken, and why."""

    #: Empty when a line of a file names none.
    sample_id: str
    reason: str


class LabelsTaken(Answer):
    """What became of each label of a request; the good ones are taken whatever the others are."""

    accepted: int
    #: Ids that no sample has.
    unknown: tuple[str, ...] = ()
    refused: tuple[RefusedLabel, ...] = ()
    #: Accepted, but authors disagree: learnt from once more than half of them agree.
    disputed: tuple[str, ...] = ()


class Label(Answer):
    """Who said what of a sample."""

    id: int
    sample_id: str
    model: str
    device_id: str
    label: str
    #: person, csv, api or feedback.
    source: str
    #: Name of a token; of feedback, the device.
    author: str
    remark: str = ""
    at: AwareDatetime
    #: The retraining or rollout that asked for it; null = it came by itself.
    asker: str | None = None


class FeedbackRequest(Request):
    """How an answer of a device turned out, as the device tells it."""

    device_id: Id
    deployment: Id
    input_id: Annotated[Text, StringConstraints(min_length=1, max_length=limits.MAX_INPUT_ID_LENGTH)]
    label: _LabelText
