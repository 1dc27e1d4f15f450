"""A small AudioSet of our own making: lists as they are released, and records by TensorFlow's own classes.

Like the released ones: eleven-letter ids, some of which begin with dashes; clips of 10 s and some shorter; class 0
more often than others; a few records whose end is not their row's; the entries of a record in any order, as a hash map
gave them.
"""

from __future__ import annotations

import csv
import random
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.output.tfrecord import write_tfrecord
from tests.made_once import Once

CLASSES = 527
SIZES = {"bal_train": 700, "eval": 5000}
"""Records; of `eval` more than are read at a time anywhere."""
LISTS = {"bal_train": "balanced_train_segments.csv", "eval": "eval_segments.csv"}
LETTERS = string.ascii_letters + string.digits + "-_"


@dataclass(frozen=True)
class Row:
    """A clip: as its list has it, but for the end that its record has, and the bytes of its examples [k, 128]."""

    id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]
    record_end_s: float
    values: np.ndarray


@pytest.fixture(scope="session")
def made_audioset(once: Once) -> Path:
    """A folder with the lists and records, under the names of the released ones."""
    return once("made audioset", make)


def make(folder: Path) -> None:
    """Writes them."""
    classes = [(f"/m/0{i:03x}", f'Sound of "{i}", far' if i % 9 else f"Sound {i}") for i in range(CLASSES)]
    classes[0] = ("/m/09x0r", "Speech")
    with (folder / "class_labels_indices.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("index", "mid", "display_name"), *((i, mid, name) for i, (mid, name) in enumerate(classes))]
        )
    for seed, part in enumerate(SIZES):
        rows = rows_of(part, seed)
        lines = [f'{r.id}, {r.start_s:.3f}, {r.end_s:.3f}, "{",".join(classes[i][0] for i in r.labels)}"' for r in rows]
        header = ["# Segments csv", f"# num_ytids={len(rows)}", "# YTID, start_seconds, end_seconds, positive_labels"]
        (folder / LISTS[part]).write_text("\n".join([*header, *lines]) + "\n", encoding="utf-8")
        order = random.Random(seed)
        with (folder / f"{part}.tfrecord").open("wb") as file:
            write_tfrecord(file, (record(row, order) for row in rows))


def rows_of(part: str, seed: int) -> list[Row]:
    """The clips of a part, the same for the same seed."""
    choice, numbers = random.Random(seed), np.random.default_rng(seed)
    rows = {}
    while len(rows) < SIZES[part]:
        first = choice.choice(["--", "-"]) if choice.random() < 0.2 else ""
        clip_id = (first + "".join(choice.choices(LETTERS, k=11)))[:11]
        start_s = float(choice.choice([0, 0, 10, 30, 30, 70, 420]))
        seconds = 10.0 if choice.random() < 0.93 else choice.randint(8, 79) / 8  # exact in float32
        end_s = start_s + seconds
        labels = tuple(sorted({*choice.sample(range(CLASSES), choice.randint(1, 4)), *([0] * (choice.random() < 0.3))}))
        # 25 ms of samples for a frame, 10 ms for each further one; 96 frames an example.
        examples = (1 + (round(seconds * 16000) - 400) // 160) // 96
        # Whitened values, clipped at two deviations: normal and a little wider, so that both ends are reached.
        values = np.floor((np.clip(numbers.normal(0, 1.4, (examples, 128)), -2, 2) + 2) * 63.75).astype(np.uint8)
        other_end = end_s - 0.25 if seconds == 10 and choice.random() < 0.01 else end_s
        rows[clip_id] = Row(clip_id, start_s, end_s, labels, other_end, values)
    return list(rows.values())


def record(row: Row, order: random.Random) -> bytes:
    """A `tf.train.SequenceExample` as TensorFlow writes it, the entries of its context in a random order."""
    from vggish_core.quiet import import_tensorflow

    train = import_tensorflow().train
    context = {
        "video_id": train.Feature(bytes_list=train.BytesList(value=[row.id.encode()])),
        "start_time_seconds": train.Feature(float_list=train.FloatList(value=[row.start_s])),
        "end_time_seconds": train.Feature(float_list=train.FloatList(value=[row.record_end_s])),
        "labels": train.Feature(int64_list=train.Int64List(value=row.labels)),
    }
    entries = list(context.items())
    order.shuffle(entries)
    # A message is the concatenation of its entries: this order is kept, whatever the library's own would be.
    whole = b"".join(train.Features(feature=dict([entry])).SerializeToString() for entry in entries)
    frames = [train.Feature(bytes_list=train.BytesList(value=[frame.tobytes()])) for frame in row.values]
    lists = train.FeatureLists(feature_list={"audio_embedding": train.FeatureList(feature=frames)})
    return b"\x0a" + varint(len(whole)) + whole + train.SequenceExample(feature_lists=lists).SerializeToString()


def varint(value: int) -> bytes:
    """A number as protocol buffers encode it."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
