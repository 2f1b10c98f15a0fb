"""Finds out what a folder of pictures or recordings holds, file by file: classes, sizes, rates, and what is refused.

A guess for a person to edit, as `inspection` is of tables. Nothing is decoded here.
"""

import math
from collections import Counter
from enum import StrEnum

import msgspec
import numpy as np

from edgeops import limits
from edgeops.artifact.manifest import Task
from edgeops.data.names import natural
from edgeops.data.paths import CLASS
from edgeops.data.rules import BadRows, Rules
from edgeops.model.picture import Shape
from edgeops.model.recording import Facts, readings_at

#: So many refused files, and different sizes or rates, are told one by one.
_SHOWN = 20


class FileKind(StrEnum):
    """What the files of a folder are."""

    #: PNG, JPEG.
    PICTURE = "picture"
    #: WAV.
    RECORDING = "recording"


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """A file that would be refused."""

    path: str
    why: str


class FolderFound(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of a folder are; what is counted by text has the most frequent first."""

    kind: FileKind
    #: Files that can be read, by class.
    classes: dict[str, int]
    #: Such files whose path names no class.
    unclassed: int
    #: How many different groups the paths name.
    groups: int
    #: Of pictures: how many have a size, `height x width`, and how many are in colour.
    sizes: dict[str, int] = {}
    coloured: int = 0
    #: Of recordings: how many have a rate, in Hz; the shortest, the middle and the longest one in seconds.
    rates: dict[str, int] = {}
    seconds: tuple[float, float, float] | None = None
    #: The first of those that would be refused.
    refused: tuple[Unread, ...] = ()
    #: What an import would fail for beside that, in words.
    hindrances: tuple[str, ...] = ()


class FolderInspector:
    """Is told of the files of one folder."""

    def __init__(self, kind: FileKind) -> None:
        self.read = 0
        self.refused = 0
        self._kind = kind
        self._classes = Counter[str]()
        self._unclassed = 0
        self._groups = set[str]()
        self._sizes = Counter[tuple[int, int]]()
        self._coloured = 0
        self._recordings = Counter[Facts]()
        self._unread = list[Unread]()

    def add(self, form: Shape | Facts, *, class_: str | None, group: str | None) -> None:
        """Take in a file that can be read: the shape of a picture, or length and rate of a recording."""
        self.read += 1
        self._unclassed += class_ is None
        if class_ is not None:
            self._classes[class_] += 1
        if group is not None:
            self._groups.add(group)
        if isinstance(form, Facts):
            self._recordings[form] += 1
        else:
            self._sizes[form[0], form[1]] += 1
            self._coloured += len(form) > 2

    def refuse(self, path: str, why: str) -> None:
        """Count a file that would be refused."""
        self.refused += 1
        if len(self._unread) < _SHOWN:
            self._unread.append(Unread(path=path, why=why))

    def found(self, *, empty: tuple[str, ...] = ()) -> FolderFound:
        """What there is; `empty` are folders without a file."""
        rates = Counter[str]()
        for facts, count in self._recordings.items():
            rates[str(facts.rate_hz)] += count
        return FolderFound(
            kind=self._kind,
            classes={name: self._classes[name] for name in sorted(self._classes, key=natural)[: limits.MAX_CLASSES]},
            unclassed=self._unclassed,
            groups=len(self._groups),
            sizes={f"{height} x {width}": count for (height, width), count in self._sizes.most_common(_SHOWN)},
            coloured=self._coloured,
            rates=dict(rates.most_common(_SHOWN)),
            seconds=self._seconds() if self._recordings else None,
            refused=tuple(self._unread),
            hindrances=self._hindrances(empty),
        )

    def rules(self) -> Rules:
        """Rules that the folder can be imported by; without classes, an anomaly detector's."""
        is_labelled = len(self._classes) > 1
        pictures, recordings = self._rules_of_pictures(), self._rules_of_recordings()
        return Rules(
            task=Task.CLASSIFICATION if is_labelled else Task.ANOMALY,
            label=CLASS if is_labelled else "",
            bad_rows=BadRows.QUARANTINE if self.refused or (is_labelled and self._unclassed) else BadRows.ERROR,
            size=pictures,
            clip_hz=recordings[0],
            seconds=recordings[1],
        )

    def _seconds(self) -> tuple[float, float, float]:
        lengths = [facts.readings / facts.rate_hz for facts in self._recordings]
        order = np.argsort(lengths, kind="stable")
        counts = np.cumsum(np.array(list(self._recordings.values()))[order])
        middle = order[np.searchsorted(counts, counts[-1] / 2)]
        return lengths[order[0]], lengths[middle], lengths[order[-1]]

    def _rules_of_pictures(self) -> tuple[int, int] | None:
        """The most frequent size, made smaller where a model could not read so many pixels; None = as all are."""
        if not self._sizes:
            return None
        height, width = self._sizes.most_common(1)[0][0]
        values = height * width * (3 if self._coloured else 1)
        if values <= limits.MAX_DATASET_COLUMNS:
            return (height, width) if len(self._sizes) > 1 else None
        scale = math.sqrt(limits.MAX_DATASET_COLUMNS / values)
        return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))

    def _rules_of_recordings(self) -> tuple[float | None, float | None]:
        """The most frequent rate and the length of the longest, as far as a model could read it; None = as all are."""
        if not self._recordings:
            return None, None
        rates = Counter[int]()
        for facts, count in self._recordings.items():
            rates[facts.rate_hz] += count
        rate_hz = rates.most_common(1)[0][0]
        lengths = {readings_at(facts.readings, facts.rate_hz, rate_hz) for facts in self._recordings}
        longest = min(max(lengths), limits.MAX_CLIP_VALUES)
        is_said = len(lengths) > 1 or longest < max(lengths)
        return float(rate_hz) if len(rates) > 1 else None, longest / rate_hz if is_said else None

    def _hindrances(self, empty: tuple[str, ...]) -> tuple[str, ...]:
        told = [f"the folder {path!r} is empty; fill it, or delete it" for path in empty[:_SHOWN]]
        if len(self._classes) > limits.MAX_CLASSES:
            told.append(f"{len(self._classes)} classes, the most is {limits.MAX_CLASSES}")
        elif len(self._classes) > 1:
            few = [
                name for name in sorted(self._classes, key=natural) if self._classes[name] < limits.MIN_ROWS_PER_CLASS
            ]
            told += [
                f"class {name!r} has {self._classes[name]} files, at least {limits.MIN_ROWS_PER_CLASS} are needed"
                for name in few[:_SHOWN]
            ]
        return tuple(told)
