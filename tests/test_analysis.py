"""Moments, Fréchet and kernel distances and resamples, as functions, against plain references."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import scipy.stats
from apache_beam.testing import test_pipeline, util
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis import frechet, kernel, moments, resampling, sums
from pipeline.analysis.frechet import DistanceError
from pipeline.analysis.passes import Sample
from pipeline.output.records import Record
from pipeline.running import plain

WIDTH = moments.WIDTH


def mixed(count: int, seed: int, offset: float = 0.0, decay: float = 0.98) -> np.ndarray:
    """Correlated vectors, float64 [count, 128]; the mixing of a seed below 10 is its own."""
    mixing = np.random.default_rng(seed % 10).normal(size=(WIDTH, WIDTH)) * decay ** np.arange(WIDTH)
    return np.random.default_rng(seed).normal(size=(count, WIDTH)) @ mixing.T + offset


def ours(a: np.ndarray, b: np.ndarray) -> float:
    return frechet.distance(frechet.fitted(moments.of(a)), frechet.fitted(moments.of(b)))


def by_sqrtm(a: np.ndarray, b: np.ndarray) -> float:
    """The definition as it is usually computed: the trace of the square root of the covariances' product."""
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T))
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * np.trace(root).real)


def from_data(a: np.ndarray, b: np.ndarray) -> float:
    """The distance without a covariance or a root: exact to rounding where covariances are singular, too."""
    shift = a.mean(axis=0) - b.mean(axis=0)
    a, b = ((each - each.mean(axis=0)) / np.sqrt(len(each) - 1) for each in (a, b))
    triangles = [np.linalg.qr(each, mode="r") for each in (a, b)]
    cross = np.linalg.svd(triangles[0] @ triangles[1].T, compute_uv=False).sum()
    return float(shift @ shift + (a**2).sum() + (b**2).sum() - 2 * cross)


def traces(*sets: np.ndarray) -> float:
    return float(sum(np.trace(np.cov(each.T)) for each in sets))


def dependent(vectors: np.ndarray) -> np.ndarray:
    """Vectors with a dimension that does not vary, and one that repeats another."""
    vectors = vectors.copy()
    vectors[:, 5] = 1.0
    vectors[:, 9] = vectors[:, 8]
    return vectors


REGULAR = {
    "other distributions": (mixed(3000, 1), mixed(2000, 2, 0.5)),
    "the same distribution": (mixed(3000, 1), mixed(2000, 11)),
    "means far from zero": (mixed(3000, 1, 1e3), mixed(2000, 2, 1e3)),
    "near-singular": (mixed(3000, 1, decay=0.85), mixed(2000, 2, 0.1, decay=0.85)),
}
SINGULAR = {
    "one of fewer vectors than dimensions": (mixed(60, 1), mixed(2000, 2)),
    "both of fewer": (mixed(60, 1), mixed(50, 2)),
    "two vectors": (mixed(2, 1), mixed(2000, 2)),
    "dimensions that depend on others": (dependent(mixed(2000, 1)), dependent(mixed(2000, 11))),
}


@pytest.mark.parametrize("name", REGULAR)
def test_the_distance_is_that_of_the_definition(name: str) -> None:
    a, b = REGULAR[name]
    assert ours(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-6)
    assert ours(a, b) == pytest.approx(from_data(a, b), rel=1e-9)


@pytest.mark.filterwarnings("ignore:Matrix is singular")  # says the usual way, which is the reference
@pytest.mark.parametrize("name", SINGULAR)
def test_singular_covariances_cost_no_digits(name: str) -> None:
    a, b = SINGULAR[name]
    assert ours(a, b) == pytest.approx(from_data(a, b), rel=1e-10)
    assert ours(a, b) == pytest.approx(by_sqrtm(a, b), abs=1e-6 * traces(a, b))


@pytest.mark.parametrize("name", [*REGULAR, *SINGULAR])
def test_the_distance_is_symmetric_and_zero_for_itself(name: str) -> None:
    a, b = {**REGULAR, **SINGULAR}[name]
    assert abs(ours(a, b) - ours(b, a)) < 1e-13 * traces(a, b)
    assert abs(ours(a, a)) < 1e-13 * traces(a, a)


def test_one_dimension_by_hand() -> None:
    a, b = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0]])  # variances 2 and 8
    assert ours(a, b) == pytest.approx(6.0**2 + 2 + 8 - 2 * 4)


def test_vectors_themselves_give_the_same_distribution() -> None:
    clip, reference = mixed(7, 2), frechet.fitted(moments.of(mixed(2000, 1)))
    found = frechet.distance(frechet.fitted_to(clip), reference)
    assert found == pytest.approx(frechet.distance(frechet.fitted(moments.of(clip)), reference), rel=1e-10)


def test_too_few_vectors() -> None:
    with pytest.raises(DistanceError, match="at least two embeddings, there is 1"):
        frechet.fitted(moments.of(np.ones((1, 3))))
    same = frechet.fitted(moments.of(np.ones((5, 3))))
    assert same.trace == 0
    assert frechet.distance(same, same) == 0
    with pytest.raises(DistanceError, match="one set has 1"):
        kernel.kernel_distance(np.ones((1, 3)), np.ones((5, 3)))
    with pytest.raises(DistanceError, match="the kernel has no width"):
        kernel.kernel_distance(np.full((5, 3), 0.1), np.ones((5, 3)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=6), st.floats(-1e4, 1e4), st.randoms(use_true_random=False))
def test_distances_do_not_depend_on_how_sets_are_split(sizes: list[int], offset: float, random) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(random.randrange(2**32))
    whole = rng.normal(size=(sum(sizes) + 8, 4)) + offset
    parts = np.split(whole, np.cumsum(sizes))
    random.shuffle(parts)
    merged = sum((moments.of(part) for part in parts), moments.nothing(4))
    reference = frechet.fitted(moments.of(rng.normal(size=(50, 4)) + offset))
    expected = frechet.distance(frechet.fitted(moments.of(whole)), reference)
    assert frechet.distance(frechet.fitted(merged), reference) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_the_line_over_one_over_n_meets_the_distance_of_the_distributions() -> None:
    """Of two samples of one distribution the distance is 0; what is found is far from that until extrapolated."""
    rng = np.random.default_rng(3)
    width, count = 16, 4000
    reference = frechet.fitted(moments.of(rng.normal(size=(400_000, width))))
    pool = rng.normal(size=(count, width))

    def points(replace: bool) -> list[tuple[int, float]]:
        sizes = np.linspace(400, count, 25).astype(int)
        drawn = [pool[rng.choice(count, size, replace=replace)] for size in sizes]
        return [(len(each), frechet.distance(reference, frechet.fitted(moments.of(each)))) for each in drawn]

    found = frechet.extrapolated(points(replace=False))
    whole = frechet.distance(reference, frechet.fitted(moments.of(pool)))
    assert whole > 0.01
    assert abs(found.value) < 0.15 * whole
    assert found.r2 > 0.95
    assert found.slope == pytest.approx(whole * count, rel=0.2)
    # Drawn with replacement, as fadtk does, samples tend to the pool, not to what that was drawn from.
    assert frechet.extrapolated(points(replace=True)).value == pytest.approx(whole, rel=0.5)


def test_a_line_of_distances_that_do_not_vary() -> None:
    found = frechet.extrapolated([(100, 2.0), (200, 2.0), (400, 2.0)])
    assert (found.value, found.r2) == (pytest.approx(2.0), pytest.approx(1.0))


def by_all_pairs(reference: np.ndarray, other: np.ndarray) -> float:
    distances = np.sort(scipy.spatial.distance.pdist(reference))
    width = distances[(len(distances) - 1) // 2]

    def mean(a: np.ndarray, b: np.ndarray, unbiased: bool) -> float:
        values = np.exp(-scipy.spatial.distance.cdist(a, b, "sqeuclidean") / (2 * width**2))
        return values[~np.eye(len(a), dtype=bool)].mean() if unbiased else values.mean()

    both = mean(reference, reference, True) + mean(other, other, True)
    return 100 * (both - 2 * mean(reference, other, False))


@pytest.mark.parametrize("sizes", [(2, 2), (3, 50), (1500, 1100)])
def test_the_kernel_distance_is_that_of_all_pairs(sizes: tuple[int, int]) -> None:
    reference, other = (mixed(size, seed).astype(np.float32) for seed, size in enumerate(sizes, 1))
    found = kernel.kernel_distance(reference, other)
    assert found.frames == sizes
    assert found.value == pytest.approx(by_all_pairs(reference, other), rel=1e-9, abs=1e-10)


def test_the_kernel_distance_of_one_distribution_is_below_zero_as_often_as_above() -> None:
    rng = np.random.default_rng(0)
    found = [kernel.kernel_distance(*rng.normal(size=(2, 60, 8))).value for _ in range(60)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert 15 < sum(value < 0 for value in found) < 50


def clips_of(vectors: np.ndarray, length: int = 10) -> list[Record]:
    starts = range(0, len(vectors), length)
    return [Record(f"{i}", 0.0, 10.0, (), vectors[i : i + length].astype(np.float32), "audioset") for i in starts]


def drawn(clips: list[Record], replicates: int, shares: tuple[float, ...] = (), seed: int = 0, files: int = 1):  # type: ignore[no-untyped-def]
    """Clips in so many files -> their resamples' moments, and how often each clip is in each: [clips, resamples]."""
    centre = np.concatenate([clip.values for clip in clips]).mean(axis=0, dtype=np.float64)
    parts = [clips[number::files] for number in range(files)]
    plan = resampling.Plan(replicates, shares, seed, 1, tuple(map(len, parts)))
    total: dict[int, np.ndarray] = {}
    for number, part in enumerate(parts):
        for group, found in resampling.sums(iter(part), plan, number, centre):
            total[group] = total.get(group, 0.0) + found
    weights = np.zeros((len(clips), replicates + len(shares)), int)
    for number in range(files):
        weights[number::files] = list(plan.weights(number))
    return [resampling.moments_of(row, centre) for group in sorted(total) for row in total[group]], weights


def test_resamples_are_those_of_the_clips_that_were_drawn() -> None:
    clips = clips_of(mixed(3000, 1, 100.0))
    found, weights = drawn(clips, 20, (0.1, 0.5), seed=4, files=3)
    for each, often in zip(found, weights.T, strict=True):
        plain = np.concatenate([clip.values for clip, times in zip(clips, often, strict=True) for _ in range(times)])
        assert each.count == len(plain)
        assert np.allclose(each.mean, plain.mean(axis=0, dtype=np.float64), rtol=1e-9)
        assert np.allclose(each.covariance, np.cov(plain.T.astype(np.float64)), rtol=1e-6, atol=1e-6)
    assert set(weights[:, 20:].ravel()) == {0, 1}
    assert weights[:, 20:].mean(axis=0) == pytest.approx([0.1, 0.5], abs=0.08)


@pytest.mark.parametrize("files", [1, 7])
def test_bootstrap_draws_are_draws_with_replacement(files: int) -> None:
    """Each resample has as many clips as the set, and a clip is in it as often as n draws of n hit one."""
    clips = clips_of(mixed(400, 1), length=2)
    _, weights = drawn(clips, 300, files=files)
    assert (weights.sum(axis=0) == len(clips)).all()
    expected = scipy.stats.binom.pmf(range(4), len(clips), 1 / len(clips))
    assert [np.mean(weights == times) for times in range(4)] == pytest.approx(list(expected), abs=0.01)
    between = np.corrcoef(weights)[~np.eye(len(clips), dtype=bool)]
    assert between.mean() == pytest.approx(-1 / (len(clips) - 1), abs=0.003)


def test_draws_are_of_the_seed_and_of_the_set() -> None:
    plans = [resampling.Plan(30, (0.5,), seed, index, (9, 9)) for seed, index in ((0, 0), (0, 1), (1, 0))]
    rows = [np.array([*plan.weights(0), *plan.weights(1)]) for plan in plans]
    assert np.array_equal(rows[0], [*plans[0].weights(0), *plans[0].weights(1)])
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0][:9], rows[0][9:])


def test_the_interval_holds_what_samples_of_these_sizes_give() -> None:
    """The frames of a clip are alike: an interval of single frames would be far too narrow."""
    spread = 2 * 0.8 ** np.arange(WIDTH)

    def sample(rng: np.random.Generator) -> np.ndarray:
        clips = rng.normal(size=(150, 1, WIDTH)) + rng.normal(size=(150, 5, WIDTH)) * 0.2 + 0.4
        return (clips * spread).reshape(-1, WIDTH)

    reference = frechet.fitted(moments.of(np.random.default_rng(9).normal(size=(20_000, WIDTH)) * spread))

    def distance(found: moments.Moments) -> float:
        return frechet.distance(reference, frechet.fitted(found))

    rng = np.random.default_rng(1)
    samples = [sample(rng) for _ in range(25)]
    distances = [distance(moments.of(each)) for each in samples]
    intervals = []
    for seed in range(10):
        resamples, _ = drawn(clips_of(samples[seed], length=5), 50, seed=seed)
        intervals.append(frechet.interval(distances[seed], [distance(each) for each in resamples]))
    assert all(each.low < found < each.high for each, found in zip(intervals, distances, strict=False))
    assert sum(each.low < np.mean(distances) < each.high for each in intervals) >= 8
    assert np.mean([each.standard_error for each in intervals]) == pytest.approx(np.std(distances), rel=0.4)


def test_samples_are_the_same_however_sets_are_split() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2**64, 1000, np.uint64)
    frames = rng.normal(size=(1000, WIDTH)).astype(np.float32)
    whole = Sample(100) + Sample(100, numbers, frames)
    parts = [Sample(100, numbers[part], frames[part]) for part in np.array_split(rng.permutation(1000), 7)]
    merged = sum(parts, Sample())
    assert np.array_equal(whole.frames, merged.frames)
    assert np.array_equal(whole.numbers, np.sort(numbers)[:100])
    assert len((Sample() + Sample()).frames) == 0


def test_sums_of_files_in_beam(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The graph itself, in Beam's own test pipeline."""
    vectors = mixed(900, 1)
    folder = tmp_path_factory.mktemp("sums")

    def read(file: tuple[int, np.ndarray]) -> Iterator[sums.Keyed]:
        for half in np.array_split(file[1], 2):
            yield (file[0],), moments.of(half)

    files = [(number % 2, part) for number, part in enumerate(np.array_split(vectors, 5))]
    with test_pipeline.TestPipeline(runner="FnApiRunner") as root:
        stored = sums.build(root, files, read, moments.nothing(), f"{folder}/sums")
        util.assert_that(stored, util.is_not_empty())
    found = {key: plain.loads((folder / f"sums-{key}").read_bytes()) for key in (0, 1)}
    assert sorted(path.name for path in folder.iterdir()) == ["sums-0", "sums-1", "sums.keys"]
    for key in (0, 1):
        rows = np.concatenate([part for number, part in files if number == key])
        assert found[key].count == len(rows)
        assert np.allclose(found[key].covariance, np.cov(rows.T), rtol=1e-9)
