"""The clips or frames of a data set that sound like an example.

    python -m pipeline.search embeddings --like dog.wav                       clips like a file's
    python -m pipeline.search embeddings --like 'folder/clip 7@3.5' --top 50  frames like the one at 3.5 s
    python -m pipeline.search embeddings --build                              an index, for large sets

The score is the cosine between embeddings. A file is embedded as the set was.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.console import streams
from pipeline.cli.flags import positive_int
from pipeline.errors import FlagError
from pipeline.formatting import begun, text

if TYPE_CHECKING:
    from pipeline.analysis.similar.example import Example
    from pipeline.analysis.similar.index import Hit, Index
    from pipeline.analysis.sources import Source
    from pipeline.corpus.class_labels import ClassLabels
    from pipeline.output.loading.dataset import Level

MANY = 200_000
"""Vectors beyond which a search suggests --build: reading so many takes some seconds."""


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.search", __doc__)
    parser.add_argument("output", help="the data set's folder, or record or Parquet files")
    parser.add_argument("--like", metavar="FILE|ID[@S]", help="audio, or a clip of the set; S: its frame at S seconds")
    parser.add_argument("--level", choices=("clip", "frame"), help="what to find (default: frame with @S, else clip)")
    parser.add_argument("--top", type=positive_int, default=20, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--label", nargs="+", default=[], metavar="NAME|INDEX", help="only clips with one of these")
    parser.add_argument("--id_prefix", default="", metavar="TEXT", help="only clips whose ids begin so")
    parser.add_argument("--class_labels", metavar="CSV", help="names of the labels (default: the output's classes.csv)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--build", action="store_true", help="first make an index, or make it again")
    parser.add_argument("--index", metavar="DIR", help="the index's folder (default: in the output's _state)")
    parser.add_argument("--checkpoint", metavar="NAME|FILE", help="for audio; default: the set's own")
    parser.add_argument("--pca_params", metavar="NAME|FILE", help="the same")
    parser.add_argument("--progress", choices=("auto", "on", "off"), default="auto", help="default: %(default)s")
    add_incomplete(parser)
    return parser


def _main(argv: Sequence[str]) -> None:
    flags = _parser().parse_args(argv)
    if not (flags.like or flags.build):
        raise FlagError("--like is missing", "Name audio or a clip's id, or give --build")
    from pipeline.analysis.sources import find

    source = find(flags.output, flags.incomplete)
    if source is None:
        raise FlagError(
            f"{flags.output} holds no records", "Name a data set; python -m pipeline.run makes one of audio"
        )
    _build(flags, source)
    if flags.like:
        _search(flags, source)


def _build(flags: Namespace, source: Source) -> None:
    """Makes the index that is asked for, or one that was asked for once and is out of date."""
    from pipeline.analysis.similar import kept

    folder = kept.place(flags.output, flags.index)
    stored = kept.read(folder)
    if flags.index and stored is None and not flags.build:
        raise FlagError(f"--index {flags.index} holds no index", "Make it: give --build too")
    stale = stored is not None and not kept.fits(stored, source)
    if not (flags.build or stale):
        return
    if folder is None:
        raise FlagError(f"--build: {flags.output} is no output here to keep an index in", "Give --index DIR")
    if stale and not flags.build:
        print(f"note: {folder} is of other records than these: it is made again", file=sys.stderr)
    kept.build(source, folder)
    print(f"index: {folder}", file=sys.stderr)


def _search(flags: Namespace, source: Source) -> None:
    from pipeline.analysis.similar.index import of

    index = of(source, flags.index)
    example, seconds = _example(flags, index)
    level: Level = flags.level or ("clip" if seconds is None else "frame")
    vectors = example.at(seconds, source.made.hop_s)
    if level == "clip":
        from pipeline.output.loading.clip_vectors import clip_mean

        vectors = clip_mean(vectors)[None]
    named = _classes(flags)
    labels = [_label(label, named) for label in flags.label]
    hits = index.search(vectors, flags.top, level=level, labels=labels, id_prefix=flags.id_prefix, without=example.clip)
    names = named.names if named else {}
    if level not in index.lists and len(index.vectors[level]) > MANY:
        print(f"note: all {len(index.vectors[level]):,} {level}s were read; --build makes an index", file=sys.stderr)
    asked = {"like": text(example.name), "kind": example.kind, "seconds": seconds, "level": level}
    content = {**asked, "exact": level not in index.lists, "hits": _content(hits, names)}
    print(json.dumps(content, indent=2, ensure_ascii=False) if flags.json else table(hits, names))
    streams.expect_printed()


def _example(flags: Namespace, index: Index) -> tuple[Example, float | None]:
    """The example and the moment of it that are asked for."""
    from pipeline import storage
    from pipeline.analysis.similar import example
    from pipeline.cli.console.progress import ProgressLine

    name, seconds = example.split(flags.like, lambda name: storage.exists(name) or len(index.table.find(name)) > 0)
    if len(index.table.find(name)) or not storage.exists(name):
        return example.of_set(name, seconds, index.table, index.vectors["frame"], index.made.hop_s), seconds
    with tempfile.TemporaryDirectory(prefix="vggish-search-") as folder, ProgressLine(flags.progress) as line:
        shown = None if line.off else line.show
        weights = (flags.checkpoint, flags.pca_params)
        return example.of_audio(name, index.source, f"{folder}/embedded", *weights, shown), seconds


def _classes(flags: Namespace) -> ClassLabels | None:
    from pipeline import storage
    from pipeline.corpus.class_labels import read_class_labels
    from pipeline.output.layout import CLASSES, join

    own = join(flags.output, CLASSES)
    uri = flags.class_labels or (own if storage.exists(own) else None)
    return read_class_labels(uri) if uri else None


def _label(label: str, named: ClassLabels | None) -> int:
    from pipeline.corpus.class_labels import as_index

    index = named.index(label) if named else as_index(label)
    if index is None:
        known = f"no class of {named.uri}" if named else "no class index, and there is no table of names"
        raise FlagError(f"--label {label} is {known}", "Give --class_labels CSV" if not named else "Look it up there")
    return index


def table(hits: Sequence[Hit], names: dict[int, str]) -> str:
    """What was found as text: a line a hit, with the names of its labels."""
    if not hits:
        return "nothing found"
    width = max(len(text(hit.id)) for hit in hits)
    lines = [f"{'rank':>4}  {'score':>6}  {'seconds':>9}  {'id':<{width}}  labels".rstrip()]
    for hit in hits:
        labels = begun(", ".join(names.get(label, str(label)) for label in hit.labels))
        lines.append(
            f"{hit.rank:>4}  {hit.score:6.4f}  {hit.seconds:>9.2f}  {text(hit.id):<{width}}  {labels}".rstrip()
        )
    return "\n".join(lines)


def _content(hits: Sequence[Hit], names: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {
            **asdict(hit),
            "id": text(hit.id),
            "score": round(hit.score, 6),
            "names": [names.get(label, str(label)) for label in hit.labels],
        }
        for hit in hits
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)
