"""Decides which samples are worth a label, in two stages: each device nominates, the server chooses.

Diverse first. Both stages walk from sample to sample, always to the one that lies farthest from all taken so far
(Gonzalez 1985: the taken ones are the centres of clusters, at most twice as wide as clusters can be made), where a
distance counts more the less certain the model is: within a cluster the most uncertain is met first. Beside it goes a
share drawn by chance, for estimates that must not be biased by the choice. A row drawn by chance is only ever taken by
chance, so the flag tells which labels may be averaged.

On ageing gas sensors 30 labels chosen so do more than 60 drawn at random, and uncertainty alone does less than chance
(bench/gas.py); k-means with the most uncertain of each cluster was half a point behind, distance alone a point or more.

This module knows no samples, labels or budgets, only arrays. Each stage hands over what the model makes of the inputs
on its own machine: what a device claims of them decides nothing.

Devices may nominate more than the choice wants (the reference of a healed model needs rows). Of each device only what
it would have nominated for so many labels stands for choice, 2.5 times its share of them: 30 labels chosen among all
120 went to what lies far out, and did a quarter point less. So none takes more than that either, whatever it makes up.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeops import limits

Floats = NDArray[np.float32] | NDArray[np.float64]
Indexes = NDArray[np.int64]

#: score = distance * uncertainty ** this; between 0 (distance alone) and 1 a quarter did best.
_UNCERTAINTY_EXPONENT = 0.25
#: A certain sample far from all others is still worth something.
_LEAST_UNCERTAINTY = 1e-6
#: Closer than this share of the pool's extent is a near-duplicate; int8 embeddings of one and the same thing differ by
#: a step of 1/255 of their range here and there.
_NEAR = 0.02
#: A pool's extent is the distance from its middle of this percentage of rows: a few that lie far out do not make
#: near-duplicates of all others, and most being alike does not make others of the rest.
_EXTENT_PERCENT = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominee:
    """One row of a device's pool that it offers for labelling."""

    index: int
    #: Rows of the pool for which it is the nearest nominee, itself included.
    weight: int
    #: Drawn uniformly from the pool.
    by_chance: bool


def nominate(
    embeddings: Floats,
    uncertainty: Floats,
    count: int,
    *,
    random_share: float,
    random: np.random.Generator,
    first: NDArray[np.bool_] | None = None,
) -> tuple[Nominee, ...]:
    """A device's stage: rows of its recent inputs, those that come first before all others, then the ones by chance.

    The cost is rows x dimensions x `count` multiplications: some 0.1 s on a Raspberry Pi for 2,000 x 32 x 100.

    Args:
        embeddings: (n, dimensions) what the model makes of each row of the pool, or its preprocessed inputs if it has
            no embedding. A value that is not finite counts as the column's median.
        uncertainty: (n,) 0 to 1; 1 - margin for a classifier. What is not finite counts as 1.
        count: at most so many; fewer when the pool has fewer rows, or fewer that are no near-duplicates.
        random_share: share of `count`, rounded up, that is drawn uniformly from the pool.
        random: seeded by the caller; the same state gives the same nominees.
        first: (n,) rows that are wanted before any other, as far as `count` goes: drawn uniformly from each other, for
            what they say of all such rows, and no near-duplicate is left out. The rest of `count` is made up of the
            other rows. They do not count as drawn by chance, for others had no part in it.
    """
    points, doubt = _usable(embeddings), _doubt(uncertainty)
    count = min(count, len(points))
    free = np.ones(len(points), np.bool_) if first is None else ~first
    wanted = np.flatnonzero(~free)
    before = random.choice(wanted, size=min(count, len(wanted)), replace=False).astype(np.int64)
    others, rest = np.flatnonzero(free), count - len(before)
    share = min(_share(rest, random_share), len(others))
    by_chance = random.choice(others, size=share, replace=False).astype(np.int64)
    taken = np.concatenate((before, by_chance))
    spread = _spread(points, doubt, rest - share, taken=taken, free=free)
    indexes = np.concatenate((taken, spread))
    return tuple(
        Nominee(index=int(index), weight=int(weight), by_chance=len(before) <= place < len(taken))
        for place, (index, weight) in enumerate(zip(indexes, _cells(points, indexes), strict=True))
    )


def choose(
    embeddings: Floats,
    uncertainty: Floats,
    by_chance: NDArray[np.bool_],
    devices: Indexes,
    count: int,
    *,
    random_share: float,
    random: np.random.Generator,
) -> Indexes:
    """The server's stage: which nominations to buy labels for, the ones by chance first.

    Rows nominated by chance are uniform over a device's pool; over the fleet they are when each device draws in
    proportion to its pool.

    Args:
        embeddings: (n, dimensions) of all nominations, from one and the same model.
        uncertainty: (n,) as for `nominate`.
        by_chance: (n,) which were nominated by chance.
        devices: (n,) whose nomination each is, 0 and up.
        count: at most so many. Near-duplicates are not bought; what is missing then is drawn by chance, and there are
            fewer only when those run out too.
        random_share: share of `count`, rounded up, that is drawn from those nominated by chance.
        random: seeded by the caller.
    """
    points, doubt = _usable(embeddings), _doubt(uncertainty)
    count = min(count, len(points))
    drawn = random.permutation(np.flatnonzero(by_chance))
    share = min(_share(count, random_share), len(drawn))
    named = int(np.ceil(limits.NOMINATION_SURPLUS * count / max(len(np.unique(devices)), 1)))
    stands = _stands(points, doubt, by_chance, devices, named=named, random_share=random_share)
    spread = _spread(points, doubt, count - share, taken=drawn[:share], free=stands)
    return np.concatenate((drawn[: count - len(spread)], spread))


def places(windows: Floats, embeddings: Floats | None) -> NDArray[np.float32]:
    """Where inputs lie (n, dimensions): their embeddings, or, of a model without one, their readings.

    Args:
        windows: (n, rows, columns) raw readings; each is measured in standard deviations of these n, and one that is
            missing or infinite is an ordinary one.
        embeddings: (n, dimensions), or None.
    """
    if embeddings is not None:
        return np.asarray(embeddings, np.float32)
    readings = windows.reshape(len(windows), -1).astype(np.float64)
    known = np.isfinite(readings)
    present = np.maximum(known.sum(axis=0), 1)
    readings -= readings.sum(axis=0, where=known) / present
    spread = np.sqrt(np.square(readings).sum(axis=0, where=known) / present)
    np.divide(readings, spread, out=readings, where=spread > 0)
    return np.where(known, readings, 0.0).astype(np.float32)


def _share(count: int, share: float) -> int:
    return int(np.ceil(round(count * share, 6)))


def _usable(embeddings: Floats) -> NDArray[np.float64]:
    """Without what is not finite; distances in double do not overflow for any float32."""
    points = np.array(embeddings, np.float64)
    missing = ~np.isfinite(points)
    for column in np.flatnonzero(missing.any(axis=0)):
        whole = points[~missing[:, column], column]
        points[missing[:, column], column] = np.median(whole) if len(whole) else 0.0
    return points


def _doubt(uncertainty: Floats) -> NDArray[np.float64]:
    known = np.where(np.isfinite(uncertainty), uncertainty, 1.0)
    return np.asarray(np.clip(known, _LEAST_UNCERTAINTY, 1.0) ** _UNCERTAINTY_EXPONENT)


def _stands(
    points: NDArray[np.float64],
    doubt: NDArray[np.float64],
    by_chance: NDArray[np.bool_],
    devices: Indexes,
    *,
    named: int,
    random_share: float,
) -> NDArray[np.bool_]:
    """Which rows each device, asked for `named`, would have named without chance."""
    drawn = _share(named, random_share)
    stands = np.zeros(len(points), np.bool_)
    for device in np.unique(devices):
        own = devices == device
        taken = np.flatnonzero(own & by_chance)[:drawn]
        stands[_spread(points, doubt, named - drawn, taken=taken, free=own & ~by_chance)] = True
    return stands


def _spread(
    points: NDArray[np.float64], doubt: NDArray[np.float64], count: int, *, taken: Indexes, free: NDArray[np.bool_]
) -> Indexes:
    """Up to `count` free rows, far from each other and from the taken ones; the most uncertain first."""
    near = _near(points)
    nearest = np.full(len(points), np.inf)
    for index in taken:
        nearest = np.minimum(nearest, _distances(points, index))
    # Before anything is taken all distances are the same.
    score_of = doubt if not len(taken) else nearest * doubt
    chosen: list[int] = []
    while len(chosen) < count:
        score = np.where(free & (nearest > near), score_of, -1.0)
        best = int(np.argmax(score)) if len(score) else -1
        if best < 0 or score[best] < 0:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, _distances(points, best))
        score_of = nearest * doubt
    return np.array(chosen, np.int64)


def _near(points: NDArray[np.float64]) -> float:
    if not len(points):
        return 0.0
    difference = points - np.median(points, axis=0)
    distances = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return _NEAR * float(np.percentile(distances, _EXTENT_PERCENT))


def _distances(points: NDArray[np.float64], index: int) -> NDArray[np.float64]:
    difference = points - points[index]
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", difference, difference)))


def _cells(points: NDArray[np.float64], indexes: Indexes) -> Indexes:
    """Rows for which each of the indexed points is the nearest; a point is always its own."""
    owner, nearest = np.zeros(len(points), np.int64), np.full(len(points), np.inf)
    for place, index in enumerate(indexes):
        distances = _distances(points, index)
        closer = distances < nearest
        owner[closer], nearest[closer] = place, distances[closer]
    owner[indexes] = np.arange(len(indexes))
    return np.bincount(owner, minlength=len(indexes)) if len(indexes) else np.zeros(0, np.int64)
