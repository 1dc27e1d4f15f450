"""Small rows: what --help costs, and how fast finished rows and records are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import Row, interleaved, python, ratios, row, spent
from pipeline import storage
from pipeline.output import shards
from pipeline.output.journal import rows
from pipeline.settings import Output
from pipeline.types import Clip, Embedding, Outcome, SegmentEnd

HELP, RECORDS, JOURNAL = "help", "records", "journal"
HELP_BAR, RECORDS_BAR, JOURNAL_BAR = 0.5, 0.5, 0.03
EXAMPLES = 10


def help_rows(rounds: int) -> list[Row]:
    """The processor time of `python -m pipeline.run --help`."""
    seconds = [python("-m", "pipeline.run", "--help")[0].cpu_s for _ in range(rounds)]
    return [row(HELP, "python -m pipeline.run --help, CPU time", seconds, HELP_BAR, False, unit="s")]


def record_rows(folder: Path, rounds: int, clips: int) -> list[Row]:
    """From embeddings to a shard file: the shard writer, against TensorFlow's messages and writer in a loop."""
    values = np.random.RandomState(0).randint(0, 256, (clips, EXAMPLES, 128)).astype(np.uint8)
    clips_rows = rows.gathered(_outcomes(values))
    output = Output(str(folder / "records"), 1)
    storage.mkdirs(str(folder / "records" / rows.ROWS))
    parts = rows.write(output.directory, "f" * 64, 1, clips_rows, {})
    measures = {
        "ours": lambda: spent(lambda: shards.write_shard(output, 0, parts, "benchmark")).wall_s,
        "tensorflow": lambda: spent(lambda: write_with_tensorflow(values, folder / "records.tfrecord")).wall_s,
    }
    for measure in measures.values():
        measure()
    walls = interleaved(rounds, measures)
    detail = {f"{name}, records a second": round(clips / min(wall)) for name, wall in walls.items()}
    name = f"records written a second, {clips:,} of {EXAMPLES} examples, with ledger and checksums ÷ TFRecordWriter"
    return [row(RECORDS, name, ratios(walls["tensorflow"], walls["ours"]), RECORDS_BAR, True, detail=detail)]


def journal_rows(folder: Path, rounds: int, clips: int, checkpoint: Path) -> list[Row]:
    """The processor time of writing row files of 500 clips, divided by that of embedding their examples."""
    from vggish_core.network.model import Embedder

    values = np.random.RandomState(0).randint(0, 256, (clips, EXAMPLES, 128)).astype(np.uint8)
    some = rows.gathered(_outcomes(values))
    directory = folder / "journal"
    storage.mkdirs(str(directory / rows.ROWS))
    examples = np.random.RandomState(1).normal(size=(640, 96, 64)).astype(np.float32)
    embedder = Embedder(checkpoint)

    def write() -> None:
        for at in range(0, clips, 500):
            rows.write(str(directory), "f" * 64, 4, some[at : at + 500], {"round": at})

    measures = {
        "journal": lambda: spent(write).cpu_s / (clips * EXAMPLES),
        "network": lambda: spent(lambda: embedder.embed(examples)).cpu_s / len(examples),
    }
    for measure in measures.values():
        measure()
    costs = interleaved(rounds, measures)
    detail = {f"{name}, CPU µs an example": round(min(cost) * 1e6, 1) for name, cost in costs.items()}
    name = f"row files of 500 clips of {EXAMPLES} examples, written \u00f7 their examples embedded, CPU time"
    return [row(JOURNAL, name, ratios(costs["journal"], costs["network"]), JOURNAL_BAR, False, detail=detail)]


def write_with_tensorflow(values: np.ndarray, path: Path) -> None:
    """Embeddings uint8 [clips, k, 128] -> AudioSet records, as a loop with TensorFlow writes them."""
    from vggish_core.network.slim import tf

    feature = tf.train.Feature
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index, embedding in enumerate(values):
            context = {
                "video_id": feature(bytes_list=tf.train.BytesList(value=[_id(index).encode()])),
                "start_time_seconds": feature(float_list=tf.train.FloatList(value=[0.0])),
                "end_time_seconds": feature(float_list=tf.train.FloatList(value=[10.0])),
                "labels": feature(int64_list=tf.train.Int64List(value=[1, 2])),
            }
            features = [feature(bytes_list=tf.train.BytesList(value=[one.tobytes()])) for one in embedding]
            lists = tf.train.FeatureLists(feature_list={"audio_embedding": tf.train.FeatureList(feature=features)})
            record = tf.train.SequenceExample(context=tf.train.Features(feature=context), feature_lists=lists)
            writer.write(record.SerializeToString(deterministic=True))


def _outcomes(values: np.ndarray) -> Sequence[Outcome]:
    result: list[Outcome] = []
    for index, embedding in enumerate(values):
        clip = Clip(_id(index), f"/audio/{index}.flac", end_s=10.0, labels=(1, 2), size_bytes=1, version="1")
        result.append(Embedding(clip, 0, 0, embedding))
        result.append(SegmentEnd(clip, 0, 1, len(embedding), 10.0, 44100, 2, "FLAC/PCM_16"))
    return result


def _id(index: int) -> str:
    return f"clip-{index:06d}"
