"""Statistics of a sample's embeddings: their bytes, a map of the clips, and which are alike. NumPy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from pipeline.output.loading.dataset import dequantize
from pipeline.output.records import WIDTH, Record

GROUPS = 10
"""Groups of clips that have a colour of their own."""
OTHERS = "others"
QUERIES = 6
NEIGHBOURS = 3
FURTHEST = 6
UMAP_CLIPS = 16
"""UMAP needs so many: a clip and the fifteen neighbours that it keeps together by default."""


@dataclass(frozen=True)
class Levels:
    """How often each dimension has which value.

    Attributes:
      shares: float64 [128, bins], each row adds up to 1.
      edges: float64 [bins + 1], of the bins.
      zeros, tops: shares of the bytes 0 and 255 in each dimension, float64 [128]; of floats none.
      mean, share_0, share_255: of all bytes; of floats only the mean.
    """

    shares: np.ndarray
    edges: np.ndarray
    zeros: np.ndarray | None
    tops: np.ndarray | None
    mean: float
    share_0: float | None
    share_255: float | None


@dataclass(frozen=True)
class Map:
    """Clips in a plane.

    Attributes:
      points: float64 [clips, 2].
      explained: shares of the variance along the two directions; None of a plane that is no projection.
    """

    points: np.ndarray
    explained: tuple[float, float] | None


@dataclass(frozen=True)
class Neighbours:
    """Which clips are alike, by the cosine of their mean embeddings after the sample's mean was taken off.

    Attributes:
      queries: index of a clip -> indices and cosines of the nearest others, nearest first.
      nearest: of each clip, index and cosine of the nearest other.
      agreeing: share of the clips whose nearest neighbour has a label (or the folder) in common with them.
      by_chance: the same of any two clips.
    """

    queries: dict[int, list[tuple[int, float]]]
    nearest: list[tuple[int, float]]
    agreeing: float | None
    by_chance: float | None


def levels(values: np.ndarray, bins: int = 64) -> Levels:
    """Embeddings uint8 or float32 [n, 128] -> how often each dimension has which value.

    Floats are counted between their 0.1st and 99.9th percentiles; what lies beyond goes into the outermost bins.
    """
    if values.dtype == np.uint8:
        counts = np.stack([np.bincount(column, minlength=256) for column in values.T])
        per_dimension = counts / len(values)
        shares = per_dimension.reshape(WIDTH, bins, -1).sum(axis=2)
        edges = np.linspace(0, 256, bins + 1)
        zeros, tops = per_dimension[:, 0], per_dimension[:, 255]
        # As `pipeline.verify` computes them.
        share_0, share_255 = float(counts[:, 0].sum() / counts.sum()), float(counts[:, 255].sum() / counts.sum())
        return Levels(shares, edges, zeros, tops, float(values.mean(dtype=np.float64)), share_0, share_255)
    low, high = (float(limit) for limit in np.percentile(values, [0.1, 99.9]))
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    inside = np.clip(values, edges[0], edges[-1])
    shares = np.stack([np.histogram(column, edges)[0] for column in inside.T]) / len(values)
    return Levels(shares, edges, None, None, float(values.mean(dtype=np.float64)), None, None)


def clip_means(records: Sequence[Record]) -> np.ndarray:
    """Records -> the mean of each one's embeddings, float64 [clips, 128], dequantized."""
    rows = (record.values if record.values.dtype != np.uint8 else dequantize(record.values) for record in records)
    return np.stack([row.mean(axis=0, dtype=np.float64) for row in rows])


def plane(means: np.ndarray) -> Map | None:
    """Mean embeddings [clips, 128] -> a map by principal components; None of fewer than three clips, or equal ones."""
    centred = means - means.mean(axis=0)
    if len(means) < 3 or not (variance := float((centred**2).sum())):
        return None
    _, scales, axes = np.linalg.svd(centred, full_matrices=False)
    # A component's sign means nothing; it is chosen so that the same clips always give the same map.
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    first, second = (float(scale**2 / variance) for scale in scales[:2])
    return Map(centred @ axes.T, (first, second))


def neighbours(means: np.ndarray, belongs: np.ndarray | None, queries: Sequence[int]) -> Neighbours | None:
    """Mean embeddings [clips, 128] -> which clips are alike; None of fewer than three.

    Args:
      means: float64 [clips, 128].
      belongs: bool [clips, groups]: labels or folders; None: there are none.
      queries: clips whose nearest ones are wanted.
    """
    if len(means) < NEIGHBOURS:
        return None
    centred = means - means.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    found = {}
    for query in queries:
        nearest = np.argsort(-cosines[query], kind="stable")[: min(NEIGHBOURS, len(means) - 1)]
        found[query] = [(int(index), float(cosines[query, index])) for index in nearest]
    best = cosines.argmax(axis=1)
    best_of = [(int(index), float(cosines[row, index])) for row, index in enumerate(best)]
    if belongs is None:
        return Neighbours(found, best_of, None, None)
    sets = belongs.astype(np.float32)
    common = (sets @ sets.T) > 0
    np.fill_diagonal(common, False)
    has = belongs.any(axis=1)
    agreeing = common[np.arange(len(means)), best][has].mean()
    pairs = int(has.sum()) * (len(means) - 1)
    return Neighbours(found, best_of, float(agreeing), float(common[has].sum() / pairs))


def furthest(means: np.ndarray) -> list[tuple[int, float]]:
    """Mean embeddings [clips, 128] -> the clips furthest from all others, furthest first, and how far.

    A clip is as far as its third nearest neighbour is (S. Ramaswamy et al., 2000: outliers by the distance to the k-th
    neighbour), here in units of the sample's median; so two recordings of one odd sound do not hide each other. None of
    fewer than ten clips.
    """
    if len(means) < 10:
        return []
    squares = (means**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * means @ means.T
    np.fill_diagonal(distances, np.inf)
    third = np.sqrt(np.maximum(np.partition(distances, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1], 0.0))
    usual = float(np.median(third)) or 1.0
    return [(int(index), float(third[index] / usual)) for index in np.argsort(-third, kind="stable")[:FURTHEST]]


def umap_plane(means: np.ndarray) -> Map | None:
    """Mean embeddings [clips, 128] -> a map by UMAP, the same each time; None without umap-learn, or of few clips.

    L. McInnes, J. Healy and J. Melville, 2018: neighbours stay neighbours, distances between groups mean little. Of 400
    clips it takes most of a minute of a processor, nearly all of it to compile the method.
    """
    if len(means) < UMAP_CLIPS or find_spec("umap") is None:
        return None
    import warnings

    from vggish_core.quiet import import_tensorflow

    import_tensorflow()  # as umap does by itself, with messages
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed rules out threads
        reducer = UMAP(n_neighbors=UMAP_CLIPS - 1, metric="cosine", random_state=0, n_jobs=1)
        points = reducer.fit_transform(means - means.mean(axis=0))
    return Map(np.asarray(points, np.float64), None)


def groupings(records: Sequence[Record], names: Mapping[int, str]) -> dict[str, list[tuple[str, ...]]]:
    """Records -> by what they can be grouped ("label", "folder": the first one of ids) -> the groups of each.

    Args:
      records: of the sample.
      names: of class indices.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    if any(record.labels for record in records):
        found["label"] = [tuple(names.get(label, f"class {label}") for label in record.labels) for record in records]
    folders: list[tuple[str, ...]] = [(record.id.split("/")[0],) if "/" in record.id else () for record in records]
    if len({folder for folder in folders if folder}) > 1:
        found["folder"] = folders
    return found


def coloured(groups: Sequence[tuple[str, ...]]) -> tuple[list[str], list[str]]:
    """Each clip's groups -> (the groups that get a colour, each clip's one group of these, or "others").

    The most frequent get one. A clip in several is shown in the rarest, or frequent ones would hide all others.
    """
    counts = Counter(group for found in groups for group in found)
    frequent = [group for group, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:GROUPS]]
    rank = {group: place for place, group in enumerate(frequent)}
    chosen = [
        max((group for group in found if group in rank), key=rank.__getitem__, default=OTHERS) for found in groups
    ]
    return [group for group in frequent if group in chosen], chosen


def memberships(groups: Sequence[tuple[str, ...]]) -> np.ndarray | None:
    """Each clip's groups -> bool [clips, groups], or None where there are none."""
    names = {name: index for index, name in enumerate(sorted({name for found in groups for name in found}))}
    if not names:
        return None
    result = np.zeros((len(groups), len(names)), bool)
    for row, found in enumerate(groups):
        result[row, [names[name] for name in found]] = True
    return result


def some(groups: Sequence[str], most: int = QUERIES) -> list[int]:
    """Each clip's group -> the first clip of each group, then further ones, up to `most`: a varied choice."""
    first = {group: index for index, group in reversed(list(enumerate(groups)))}
    others = [index for index in range(len(groups)) if index not in set(first.values())]
    return [*sorted(first.values()), *others][:most]
