"""Search and duplicates, measured: which metric, which threshold, how fast. `python -m benchmarks.similar --help`.

    python -m benchmarks.similar metrics ESC10 WORK --checkpoint standin --pca_params standin
    python -m benchmarks.similar copies ESC10 WORK --checkpoint standin --pca_params standin
    python -m benchmarks.similar scale RECORDS WORK --frames 10000000

ESC10 is the folder of its clips, RECORDS a pattern of record files whose frames are repeated with noise, WORK a folder
for what is made. `metrics` takes RECORDS too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import Index, Record, dequantize, read_records
from pipeline.analysis.similar import kept
from pipeline.analysis.similar.cosine import unit
from pipeline.analysis.similar.duplicates import duplicates
from pipeline.analysis.similar.table import Table, TableWriter
from pipeline.analysis.sources import Source, find

RATE = 44_100
HALF_HOP = round(0.48 * RATE)
WARM_UP, QUERIES = 20, 200
THRESHOLDS = (0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.997, 0.998, 0.999)


def gain(samples: np.ndarray, path: Path) -> None:
    """Half as loud: -6 dB."""
    _wav(samples / 2, path)


def mp3(samples: np.ndarray, path: Path) -> None:
    """MP3 at 64 kb/s."""
    import av

    with av.open(str(path.with_suffix(".mp3")), "w") as container:
        stream = container.add_stream("libmp3lame", rate=RATE, layout="mono", bit_rate=64_000)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE, frame_size=1152)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))


def shift(samples: np.ndarray, path: Path) -> None:
    """Without its first half hop: no frame begins where one began."""
    _wav(samples[HALF_HOP:], path)


def cut(samples: np.ndarray, path: Path) -> None:
    """Without 1.3 s in the middle: what follows lies otherwise on the grid of frames."""
    middle = len(samples) // 2
    _wav(np.concatenate([samples[:middle], samples[middle + round(1.3 * RATE) :]]), path)


COPIES: dict[str, Callable[[np.ndarray, Path], None]] = {"gain": gain, "mp3": mp3, "shift": shift, "cut": cut}


def _wav(samples: np.ndarray, path: Path) -> None:
    import soundfile as sf

    sf.write(path.with_suffix(".wav"), samples, RATE, subtype="PCM_16")


def made(esc10: Path, work: Path, weights: list[str]) -> None:
    """ESC-10 and copies of all its clips -> a data set of each."""
    import soundfile as sf

    from pipeline import run

    for name, make in COPIES.items():
        folder = work / "audio" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            for path in sorted(esc10.glob("*/*.ogg")):
                make(sf.read(path, dtype="float32")[0], folder / path.stem)
    for name in ("originals", *COPIES):
        source = f"{esc10}/**/*.ogg" if name == "originals" else str(work / "audio" / name / "**")
        flags = ["--input", source, "--output", str(work / name), "--num_shards", "1", "--report", "off", *weights]
        status = run.main(["--runner", "DirectRunner", *flags])
        assert status == 0, name


def metrics(sources: list[str]) -> None:
    """Precision at 10: how many of a clip's ten nearest others carry one of its labels, or are of its folder."""
    for source in sources:
        records = list(read_records(source))
        frames = [r.values if r.values.dtype == np.float32 else dequantize(r.values) for r in records]
        means = np.stack([each.mean(axis=0, dtype=np.float64) for each in frames])
        labels = _labels(records)
        origins = np.unique([_origin(r.id) for r in records], return_inverse=True)[1]
        centred = means - means.mean(axis=0)
        asked = np.sort(np.random.default_rng(0).permutation(len(means))[:2000])
        for name, scores in (
            ("cosine", unit(means[asked]) @ unit(means).T),
            ("cosine of centred", unit(centred[asked]) @ unit(centred).T),
            ("L2", 2 * means[asked] @ means.T - (means**2).sum(axis=1)),
            ("product", means[asked] @ means.T),
        ):
            scores = np.where(origins[asked, np.newaxis] == origins, -np.inf, scores)
            best = np.argpartition(-scores, 10, axis=1)[:, :10]
            shares = (labels[asked, np.newaxis] & labels[best]).any(axis=2)
            print(f"{source}: {len(records):,} clips: {name}: precision@10 {shares.mean():.4f}", flush=True)


def _labels(records: list) -> np.ndarray:  # type: ignore[type-arg]
    folders = sorted({r.id.rpartition("/")[0] for r in records})
    sets = [set(r.labels) or {folders.index(r.id.rpartition("/")[0])} for r in records]
    found = np.zeros((len(records), 1 + max(max(each) for each in sets)), bool)
    for row, each in zip(found, sets, strict=True):
        row[list(each)] = True
    return found


def _origin(clip_id: str) -> str:
    """Clips of ESC-10 that were cut from one recording are no strangers to each other."""
    name = clip_id.rpartition("/")[2]
    return "-".join(name.split("-")[:2]) if name.count("-") == 2 else clip_id


def copies(work: Path) -> None:
    """By threshold: how many copies are listed beside their originals, and how much of what is listed is that."""
    first = find(str(work / "originals"))
    for name in COPIES:
        second = find(str(work / name))
        assert first
        assert second
        for threshold in THRESHOLDS:
            listed = duplicates(first, second, threshold).found
            for kind in ("clip", "stretch"):
                pairs = {(_name(each.first), _name(each.second)) for each in listed if each.kind == kind}
                right = {pair for pair in pairs if pair[0] == pair[1]}
                wrong = {pair for pair in pairs if _origin(f"x/{pair[0]}") != _origin(f"x/{pair[1]}")}
                recall, precision = len(right) / 400, len(right) / max(len(right) + len(wrong), 1)
                figures = f"recall {recall:.3f} precision {precision:.3f} wrong {len(wrong)}"
                print(f"{name} {kind} {threshold}: {figures}", flush=True)


def _name(clip_id: str) -> str:
    return clip_id.rpartition("/")[2]


@dataclass(frozen=True)
class Scaled:
    """An index of many frames: what its lists took, and what queries by its own frames do.

    Attributes:
      lists_s: making FAISS's lists, in seconds.
      query_s: of each query, in seconds.
      recall: which share of the ten nearest a query finds, on average over the first queries.
    """

    lists_s: float
    query_s: Sequence[float]
    recall: float


def scaled(source: Source, frames: np.ndarray, folder: Path, count: int) -> Scaled:
    """Frames, uint8 [n, 128], repeated with noise up to `count` -> an index of them in a folder, measured."""
    if not (folder / "frames.npy").exists():
        _noisy(frames, count, folder / "frames.npy")
    begun = time.perf_counter()
    kept.write_lists(folder, "frame")
    lists_s = time.perf_counter() - begun
    vectors = kept.vectors(folder, "frame")
    index = Index(source, _tens(count), {"frame": vectors}, {"frame": kept.lists(folder, "frame")})
    exact = Index(source, index.table, index.vectors)
    rows = np.random.default_rng(1).choice(len(vectors), WARM_UP + QUERIES, replace=False)
    times, recalls = [], []
    for number, row in enumerate(rows):
        begun = time.perf_counter()
        found = index.search(vectors[row], 10, level="frame")
        times.append(time.perf_counter() - begun)
        if number < WARM_UP:
            wanted = {(hit.id, hit.seconds) for hit in exact.search(vectors[row], 10, level="frame")}
            recalls.append(len(wanted & {(hit.id, hit.seconds) for hit in found}) / 10)
    return Scaled(lists_s, times[WARM_UP:], float(np.mean(recalls)))


def scale(pattern: str, work: Path, count: int) -> None:
    """So many frames, released ones repeated with noise: the time of FAISS's lists, their recall@10, a query's time."""
    folder = work / f"{count}-frames"
    folder.mkdir(parents=True, exist_ok=True)
    source = find(pattern)
    assert source
    found = scaled(source, kept.collect(source)[1]["frame"], folder, count)
    print(f"{count:,} frames: lists made in {found.lists_s:.0f} s")
    print(f"query: median {np.median(found.query_s) * 1e3:.1f} ms, 95% {np.quantile(found.query_s, 0.95) * 1e3:.1f} ms")
    print(f"recall@10 {found.recall:.4f} of {WARM_UP} queries")


def _noisy(frames: np.ndarray, count: int, path: Path) -> None:
    rng = np.random.default_rng(0)
    found = np.lib.format.open_memmap(path, "w+", np.uint8, (count, frames.shape[1]))
    for at in range(0, count, 100_000):
        rows = np.arange(at, min(at + 100_000, count)) % len(frames)
        noise = rng.integers(-6, 7, (len(rows), frames.shape[1]), np.int16)
        found[at : at + len(rows)] = np.clip(frames[rows] + noise, 0, 255)


def _tens(count: int) -> Table:
    """A table of clips of ten frames."""
    writer, none = TableWriter(), np.empty((10, 128), np.uint8)
    for clip in range(count // 10):
        writer.add(Record(f"{clip}", 0.0, 10.0, (), none, "audioset"))
    return writer.table()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.similar", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("what", choices=("metrics", "copies", "scale"))
    parser.add_argument("source")
    parser.add_argument("work", type=Path)
    parser.add_argument("--frames", type=int, default=1_000_000)
    flags, weights = parser.parse_known_args()
    if flags.what == "scale":
        scale(flags.source, flags.work, flags.frames)
        return
    if not Path(flags.source).is_dir():
        metrics([flags.source])
        return
    made(Path(flags.source), flags.work, weights)
    if flags.what == "metrics":
        metrics([str(flags.work / "originals")])
    else:
        copies(flags.work)


if __name__ == "__main__":
    main()
