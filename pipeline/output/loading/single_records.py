"""Records one at a time, parsed and handed to Python many at a time: `load_dataset` without a batch size.

Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


class SingleRecords(tf.data.Dataset):
    """A dataset of named tuples of padded batches -> the dataset of their single records.

    A Python loop over a dataset costs some 40 microseconds for each tensor of an element: most of what a loop over
    records takes, and more than parsing them. So a loop, or `as_numpy_iterator`, gets slices of whole batches. All else
    (`map`, `take`, `batch`, loops within a `tf.function`) sees an ordinary dataset.

    Args:
      batches: of named tuples with `embeddings` [b, t, 128] and `num_frames` [b].
      own_length: whether embeddings are cut to `num_frames` rows.
    """

    def __init__(self, batches: Any, own_length: bool) -> None:
        self._batches = batches.prefetch(2)
        self._own_length = own_length
        singles = batches.unbatch()
        if own_length:
            singles = singles.map(lambda record: record._replace(embeddings=record.embeddings[: record.num_frames]))
        self._singles = singles.prefetch(tf.data.AUTOTUNE)
        super().__init__(self._singles._variant_tensor)

    def _inputs(self) -> list[Any]:
        return [self._singles]

    @property
    def element_spec(self) -> Any:
        return self._singles.element_spec

    def __iter__(self) -> Iterator[Any]:
        if tf.inside_function() or not tf.executing_eagerly():
            return iter(self._singles)
        return _Sliced(iter(self._batches), self._own_length)


class _Sliced:
    """Batches -> their records, as eager tensors."""

    def __init__(self, batches: Iterator[Any], own_length: bool) -> None:
        self._batches = batches
        self._own_length = own_length
        self._records: Iterator[Any] = iter(())

    def __iter__(self) -> _Sliced:
        return self

    def __next__(self) -> Any:
        if tf.inside_function():  # where a record taken once would stand for all
            raise RuntimeError(
                "an iterator over single records was given to a tf.function. Give it the dataset and loop over that "
                "within, or iterate over dataset.prefetch(1)"
            )
        record = next(self._records, None)
        while record is None:
            self._records = self._records_of(next(self._batches))
            record = next(self._records, None)
        return record

    def _records_of(self, batch: Any) -> Iterator[Any]:
        lengths = batch.num_frames.numpy().tolist()
        longest = batch.embeddings.shape[1]
        for columns, length in zip(zip(*map(tf.unstack, batch), strict=True), lengths, strict=True):
            record = type(batch)(*columns)
            if self._own_length and length < longest:
                record = record._replace(embeddings=record.embeddings[:length])
            yield record
