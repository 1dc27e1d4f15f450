"""Reading records: a Python loop over single ones, against tf.data as people write it by hand."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Row, Spent, interleaved, ratios, row, spent
from pipeline.output.loading.dataset import NUM_CLASSES, load_dataset
from pipeline.output.records import to_sequence_example, write_tfrecord

GROUP = "loader"
BAR = 1.0
EXAMPLES = 10


def rows(folder: Path, rounds: int, clips: int) -> list[Row]:
    """A loop over every record of a file: id, times, dequantized embeddings, labels multi-hot; wall and CPU time."""
    path = folder / "loader.tfrecord"
    _write(path, clips)
    datasets = {"ours": load_dataset(str(path)), "tf.data": by_hand(path)}

    def loop(name: str) -> Spent:
        return spent(lambda: deque(datasets[name], maxlen=0))

    for name in datasets:
        loop(name)
    costs = interleaved(rounds, {name: lambda name=name: loop(name) for name in datasets})
    fastest = {f"{name}, records a second": round(clips / min(cost.wall_s for cost in costs[name])) for name in costs}
    what = f"loop over {clips:,} single records, load_dataset ÷ tf.data with parse_single_sequence_example"
    wall, cpu = (
        ratios([getattr(cost, kind) for cost in costs["tf.data"]], [getattr(cost, kind) for cost in costs["ours"]])
        for kind in ("wall_s", "cpu_s")
    )
    return [
        row(GROUP, f"{what}, speed", wall, BAR, True, detail=fastest),
        row(GROUP, f"{what}, by CPU time", cpu, BAR, True),
    ]


def by_hand(path: Path) -> Any:
    """A file of AudioSet records -> a dataset of (id, start, end, embeddings float32 [t, 128], labels [527])."""
    from vggish_core.quiet import import_tensorflow

    tf = import_tensorflow()

    def parse(record: Any) -> Any:
        context, frames = tf.io.parse_single_sequence_example(
            record,
            context_features={
                "video_id": tf.io.FixedLenFeature([], tf.string),
                "start_time_seconds": tf.io.FixedLenFeature([], tf.float32),
                "end_time_seconds": tf.io.FixedLenFeature([], tf.float32),
                "labels": tf.io.VarLenFeature(tf.int64),
            },
            sequence_features={"audio_embedding": tf.io.FixedLenSequenceFeature([], tf.string)},
        )
        quantized = tf.io.decode_raw(frames["audio_embedding"], tf.uint8)
        embeddings = tf.cast(quantized, tf.float32) * (4 / 255) + (4 / 512 - 2)
        labels = tf.reduce_max(tf.one_hot(tf.sparse.to_dense(context["labels"]), NUM_CLASSES), axis=0)
        return context["video_id"], context["start_time_seconds"], context["end_time_seconds"], embeddings, labels

    records = tf.data.TFRecordDataset(str(path)).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return records.prefetch(tf.data.AUTOTUNE)


def _write(path: Path, clips: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (clips, EXAMPLES, 128)).astype(np.uint8)
    with path.open("wb") as file:
        write_tfrecord(
            file, (to_sequence_example(f"clip-{i:06d}", 0.0, 10.0, [1, i % 500 + 2], v) for i, v in enumerate(values))
        )
