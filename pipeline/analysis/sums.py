"""Values that add up, over the files of data sets, by a Beam job: a file an element, one sum a key comes back.

Imports Beam.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipeline import storage
from pipeline.running import plain
from pipeline.running.coders import Plain, PlainCoder
from pipeline.running.engines import graphs, runners

Keyed = tuple[tuple[int, ...], Any]
"""A key, and a value that `+` takes and `pipeline.running.plain` knows."""


@beam.typehints.with_input_types(Plain)
@beam.typehints.with_output_types(Plain)
class Sum(beam.CombineFn):
    """Values -> their sum.

    Args:
      nothing: the sum of no value: neutral under `+`, which is associative and depends on the order by a rounding.
    """

    def __init__(self, nothing: Any) -> None:
        self._nothing = nothing

    def create_accumulator(self) -> Any:
        return self._nothing

    def add_input(self, mutable_accumulator: Any, element: Any) -> Any:
        return mutable_accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        return sum(accumulators, self._nothing)

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator

    def get_accumulator_coder(self) -> PlainCoder:
        return PlainCoder()


def collect(
    engine: runners.Engine,
    files: Sequence[Any],
    read: Callable[[Any], Iterator[Keyed]],
    nothing: Any,
    place: str,
) -> dict[tuple[int, ...], Any]:
    """Files -> the sum of what is read of them, by key.

    Args:
      engine: where the job runs.
      files: what `read` takes, small.
      read: a file -> keys and values; called by the workers.
      nothing: the sum of no value.
      place: URI of a folder that the workers may write to, and that this process reads; what they leave is deleted.
    """
    stem = storage.join(place, f"sums-{uuid.uuid4().hex}")

    def construct(root: beam.Pipeline) -> None:
        build(root, files, read, nothing, stem)

    graphs.run(engine, construct)
    return {_key(name): _taken(f"{stem}-{name}") for name in _taken(f"{stem}.keys")}


def _taken(uri: str) -> Any:
    """What workers left in a file, which goes; nothing where nothing was read."""
    if not storage.exists(uri):
        return ()
    with storage.open_read(uri) as file:
        value = plain.loads(file.read())
    storage.delete(uri)
    return value


def build(
    root: beam.Pipeline, files: Sequence[Any], read: Callable[[Any], Iterator[Keyed]], nothing: Any, stem: str
) -> beam.PCollection:
    """The graph: files -> keys and values -> a file a key, then one with the keys."""
    return (
        root
        | "Files" >> beam.Create([plain.dumps(file) for file in files])
        | beam.Reshuffle()
        | "Read" >> beam.FlatMap(_named, read).with_output_types(tuple[str, Plain])
        | "Sum" >> beam.CombinePerKey(Sum(nothing)).with_output_types(tuple[str, Plain])
        | "Store" >> beam.Map(_store, stem).with_output_types(tuple[int, str])
        | "Keys" >> beam.GroupByKey()
        | "Store keys" >> beam.Map(_store_names, stem).with_output_types(int)
    )


def _named(file: bytes, read: Callable[[Any], Iterator[Keyed]]) -> Iterator[tuple[str, Any]]:
    """A file -> names of keys, and values."""
    for key, value in read(plain.loads(file)):
        yield "-".join(map(str, key)), value


def _key(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split("-")))


def _store(named: tuple[str, Any], stem: str) -> tuple[int, str]:
    name, value = named
    storage.write_atomic(f"{stem}-{name}", plain.dumps(value))
    return 0, name


def _store_names(stored: tuple[int, Iterable[str]], stem: str) -> int:
    names = sorted(stored[1])
    storage.write_atomic(f"{stem}.keys", plain.dumps(names))
    return len(names)
