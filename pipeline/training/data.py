"""A whole data set in memory for training: frames of all clips end to end, and batches of them with augmentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from pipeline.corpus import class_labels
from pipeline.errors import UserError
from pipeline.output.loading.dataset import WIDTH, RecordError, dequantize, load_dataset
from pipeline.output.matching import Incomplete, Matched, matching
from pipeline.output.records import expect_finite, records_of

RECORDS_OF_A_READ = 1024
_OPERATION = re.compile(r"\{\{[^}]*\}\}:? ?")
"""TensorFlow's names of its own operations, in its messages."""


class ClassesError(UserError):
    """The list of classes, or a choice from it, cannot be used: what was found, and what to do."""


@dataclass(frozen=True)
class Classes:
    """The classes a model tells apart.

    Attributes:
      indices: of the labels in the records, in the model's order.
      names: for people.
      mids: identifiers of the ontology, "" where there are none.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]
    mids: tuple[str, ...]

    def only(self, wanted: Sequence[str]) -> Classes:
        """The classes of these names (or MIDs), in their own order; ClassesError names those that do not exist."""
        positions: list[int] = []
        for each in wanted:
            found = [i for i, names in enumerate(zip(self.names, self.mids, strict=True)) if each in names]
            if not found:
                near = [name for name in self.names if each.lower() in name.lower()][:5]
                hint = f"; there is {' / '.join(near)}" if near else ": see the display_name column of --classes"
                raise ClassesError(f"no class is called {each!r}{hint}")
            positions.append(found[0])
        positions = sorted(set(positions))
        return Classes(
            tuple(self.indices[i] for i in positions),
            tuple(self.names[i] for i in positions),
            tuple(self.mids[i] for i in positions),
        )


@dataclass(frozen=True, eq=False)
class Clips:
    """Records in memory: 128 bytes a frame.

    Attributes:
      ids: of the records.
      start_s: float32 [n].
      frames: uint8 or float32 [sum of lengths, 128], clip after clip.
      offsets: int64 [n + 1], where each clip's frames begin and end.
      labels: bool [n, c].
    """

    ids: tuple[str, ...]
    start_s: np.ndarray
    frames: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, int64 [n]."""
        return np.diff(self.offsets)

    def take(self, positions: np.ndarray) -> Clips:
        """The clips at these positions, in their order."""
        lengths = self.lengths[positions]
        rows = np.repeat(self.offsets[positions] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        return Clips(
            tuple(self.ids[i] for i in positions),
            self.start_s[positions],
            self.frames[rows],
            np.concatenate([[0], np.cumsum(lengths)]),
            self.labels[positions],
        )

    def with_columns(self, columns: Sequence[int]) -> Clips:
        """The clips with these of their label columns, in this order."""
        return replace(self, labels=self.labels[:, list(columns)])

    def padded(
        self, positions: np.ndarray, frames: int, first: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Clips -> (embeddings float32 [b, frames, 128], mask bool [b, frames], False and 0.0 past a clip's end).

        Args:
          positions: int [b], which clips.
          frames: rows of each.
          first: int [b], the first of the clip's frames that is taken; None: 0.
        """
        begin = self.offsets[positions] + (0 if first is None else first)
        rows = begin[:, np.newaxis] + np.arange(frames)
        mask = rows < self.offsets[positions + 1][:, np.newaxis]
        values = self.frames[np.where(mask, rows, 0)]
        values = dequantize(values) if values.dtype == np.uint8 else values.copy()
        values[~mask] = 0.0
        return values, mask


def read_classes(path: str) -> Classes:
    """A table of classes (`index,mid,display_name`, as AudioSet's class_labels_indices.csv) -> `Classes`, by index.

    Raises:
      SourceError: the table cannot be used; names the line.
    """
    rows = sorted(class_labels.read_classes(path))
    indices, mids, names = zip(*rows, strict=True)
    return Classes(indices, names, mids)


def load_clips(pattern: str, classes: Classes, incomplete: Incomplete = "refuse") -> Clips:
    """TFRecord files -> all their records in memory, with one label column a class, in the classes' order.

    Files beside a manifest are compared with it first, their sha256 too, for which they are read once more.

    Raises:
      IncompleteError: as `read_records`.
      RecordError: as `load_dataset`; also for a label that is none of the classes, for values that are not finite, and
        for damaged records.
    """
    from vggish_core.quiet import import_tensorflow

    tf = import_tensorflow()
    ids: list[bytes] = []
    starts, frames, lengths, labels = [], [], [], []
    matched = matching(pattern, incomplete)
    matched.expect_content()
    dataset = load_dataset(matched, batch_size=RECORDS_OF_A_READ, dequantize=False, num_classes=classes.indices)
    try:
        for batch in dataset.as_numpy_iterator():
            ids.extend(batch.id.tolist())
            starts.append(batch.start)
            lengths.append(batch.num_frames)
            mask = np.arange(batch.embeddings.shape[1]) < batch.num_frames[:, np.newaxis]
            frames.append(batch.embeddings[mask])
            if frames[-1].dtype != np.uint8 and not np.isfinite(frames[-1]).all():
                _name_fault(matched, classes)
            labels.append(batch.labels.astype(bool))
    except tf.errors.OpError as error:
        _name_fault(matched, classes)
        said = _OPERATION.sub("", error.message.splitlines()[0])
        raise RecordError(
            f"{pattern}: {said}", "python -m pipeline.verify --manifest none looks at each record"
        ) from None
    return Clips(
        tuple(each.decode("utf-8", "surrogateescape") for each in ids),
        np.concatenate(starts),
        np.concatenate(frames).reshape(-1, WIDTH),
        np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)]),
        np.concatenate(labels),
    )


def joined(parts: Sequence[Clips]) -> Clips:
    """Clips of several sets, one after another, as one."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([part.lengths for part in parts])
    return Clips(
        tuple(each for part in parts for each in part.ids),
        np.concatenate([part.start_s for part in parts]),
        np.concatenate([part.frames for part in parts]),
        np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
        np.concatenate([part.labels for part in parts]),
    )


def _name_fault(matched: Matched, classes: Classes) -> None:
    """Raise RecordError for the record that cannot be used, which TensorFlow does not name."""
    known, first = set(classes.indices), ""
    for place, record in records_of(matched):
        expect_finite(record, place)
        kind = f"{record.layout} {record.values.dtype}"
        first = first or kind
        if kind != first:
            raise RecordError(f"{place} ({record.id}) is {kind}, those before are {first}", "Give files of one kind")
        unknown = [label for label in record.labels if label not in known]
        if unknown:
            raise RecordError(
                f"{place} ({record.id}): label {unknown[0]} is no class of the table, which has {_range(classes)}. "
                "Give the table that the records were labelled with; --only chooses some of its classes"
            )


def _range(classes: Classes) -> str:
    return f"{len(classes.indices)} from {min(classes.indices)} to {max(classes.indices)}"


def split(ids: Sequence[str], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Ids -> positions of (clips to train on, clips to validate with): by a hash of the id, in any order the same.

    Args:
      ids: of the clips; those with one id stay together.
      share: of the clips to validate with, roughly; at least one, if there are two ids.
    """
    digests = b"".join(sha256(each.encode("utf-8", "surrogateescape")).digest()[:8] for each in ids)
    draws = np.frombuffer(digests, ">u8")
    chosen = draws < np.uint64(int(share * 2**64))
    if not chosen.any() or chosen.all():
        chosen = draws == draws.min()
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
