"""Fréchet Audio Distance: how far sets of embeddings, or of audio, are from the first of them.

    python -m pipeline.fad reference generated other_model               data sets
    python -m pipeline.fad recordings/train recordings/test              audio, which is embedded first
    python -m pipeline.fad 'a/*.tfrecord' b.parquet --bootstrap 200 --fad_inf --kad --json fad.json

A set is an output's folder, record files, Parquet files of pipeline.parquet, or audio (a folder or a pattern). Audio is
embedded as the data sets beside it were; among audio alone, as raw embeddings.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.analysis.wanted import KERNEL_FRAMES, Wanted
from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.console import streams
from pipeline.cli.flags import check_beam_flags, hop_seconds, positive_int
from pipeline.errors import FlagError
from pipeline.formatting import short, text
from pipeline.settings import FrontEnd, Model

if TYPE_CHECKING:
    from pipeline.analysis.compare import Compared, Comparison
    from pipeline.analysis.sources import Source
    from pipeline.running.engines.runners import Engine


def table(found: Comparison) -> str:
    """A comparison as text: a row for each set, the reference's first."""
    rows = [("set", "clips", "frames", "FAD", "95% interval", "FAD∞", "R²", "KAD"), _row(found.reference, "reference")]
    rows += [_row(each, f"{each.fad:.4f}") for each in found.sets]
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in kept]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not number else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in zip(*kept, strict=True)
    )


def _row(each: Compared, fad: str) -> tuple[str, ...]:
    interval, infinite, kernel = each.interval, each.infinite, each.kernel
    return (
        short(each.name),
        f"{each.clips:,}",
        f"{each.frames:,}",
        fad,
        f"{interval.low:.4f} to {interval.high:.4f}" if interval else "",
        f"{infinite.value:.4f}" if infinite else "",
        f"{infinite.r2:.3f}" if infinite else "",
        f"{kernel.value:.4f}" if kernel else "",
    )


def by_clip(found: Comparison) -> str:
    """A comparison's single clips as CSV, set by set, the furthest from the reference first."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("set", "id", "start_seconds", "end_seconds", "frames", "distance"))
    for each in found.sets:
        for clip in each.by_clip:
            writer.writerow((each.name, text(clip.id), clip.start_s, clip.end_s, clip.frames, clip.distance))
    return lines.getvalue()


def _sources(flags: Namespace, engine: Engine, folder: str) -> list[Source]:
    """The sets in the order given; audio among them is embedded into a folder."""
    from pipeline.analysis import audio
    from pipeline.analysis.sources import expect_alike, find

    found = [find(name, flags.incomplete) for name in flags.sets]
    if None in found and not engine.local:
        name = flags.sets[found.index(None)]
        raise FlagError(f"{name} is audio, and {flags.runner} has no part in embedding it", "Use pipeline.run first")
    known = [source for source in found if source]
    if known:
        expect_alike(known)  # before any audio is embedded
    made = known[0].made if known else None
    if made and flags.hop_seconds not in (None, made.hop_s):
        raise FlagError(f"--hop_seconds {flags.hop_seconds}: {known[0].name} has {made.hop_s}", "Leave the flag out")
    given = (flags.checkpoint, flags.pca_params)
    model = Model(flags.checkpoint or "released", embeddings="raw")
    if made and None in found:
        model = audio.model_of(made, *given)
    hop_s = flags.hop_seconds or (made.hop_s if made else FrontEnd.hop_seconds)
    return [
        source or _embedded(name, f"{folder}/{number}", model, hop_s, flags.progress)
        for number, (name, source) in enumerate(zip(flags.sets, found, strict=True))
    ]


def _embedded(name: str, output: str, model: Model, hop_s: float, progress: str) -> Source:
    """Audio -> its embeddings; clips that have none are named on standard error."""
    from pipeline.analysis import audio
    from pipeline.analysis.sources import find
    from pipeline.cli.console.progress import ProgressLine

    with ProgressLine(progress) as line:
        failures = audio.embed([name], output, model, hop_s, "skip", None if line.off else line.show)
    for failure in failures:
        print(f"{failure['uri']}: {failure['reason']}: {failure['message']}", file=sys.stderr)
    source = find(output)
    if source is None or not any(file.promised and file.promised.records for file in source.files):
        raise FlagError(f"{name}: no clip could be embedded", "The lines above say why")
    return replace(source, name=name)


def _parser() -> ProgramParser:
    parser = ProgramParser("pipeline.fad", __doc__)
    parser.add_argument("sets", nargs="+", metavar="SET", help="two or more; the first is the reference")
    parser.add_argument("--json", metavar="FILE", help="also write everything that is known as JSON")
    parser.add_argument("--per_clip", metavar="FILE", help="a .csv of each clip's own distance, the furthest first")
    parser.add_argument(
        "--bootstrap", type=positive_int, metavar="N", default=0, help="a 95%% interval from N resamples of the clips"
    )
    parser.add_argument(
        "--fad_inf", action="store_true", help="also the distance extrapolated to infinitely many frames of each set"
    )
    parser.add_argument(
        "--kad",
        nargs="?",
        type=positive_int,
        const=KERNEL_FRAMES,
        default=0,
        metavar="N",
        help="also the Kernel Audio Distance, of at most N frames of each set (without N: %(const)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all draws (default: %(default)s)")
    parser.add_argument("--checkpoint", metavar="NAME|FILE", help="for audio; default: as the data sets', or released")
    parser.add_argument("--pca_params", metavar="NAME|FILE", help="the same")
    parser.add_argument(
        "--hop_seconds",
        type=hop_seconds,
        metavar="S",
        help=f"for audio; default: as the data sets', or {FrontEnd.hop_seconds}; the paper's program has 0.5",
    )
    parser.add_argument("--progress", choices=("auto", "on", "off"), default="auto", help="default: %(default)s")
    parser.add_argument("--runner", default="DirectRunner", metavar="NAME", help="Beam's (default: %(default)s)")
    add_incomplete(parser)
    return parser


def _main(argv: Sequence[str]) -> None:
    flags, rest = _parser().parse_known_args(argv)
    if len(flags.sets) < 2:
        raise FlagError(f"{flags.sets[0]} alone has no distance", "Name two sets or more, the reference first")
    if flags.per_clip and not flags.per_clip.endswith(".csv"):
        raise FlagError(f"--per_clip {flags.per_clip} does not end in .csv", f"Write {flags.per_clip}.csv")
    if flags.seed < 0:
        raise FlagError(f"--seed {flags.seed} is below 0", "Give a whole number from 0")
    check_beam_flags(rest)
    from pipeline.analysis.compare import compare
    from pipeline.running.engines import exchange, runners

    engine = runners.choose(flags.runner, rest)
    wanted = Wanted(flags.bootstrap, flags.fad_inf, flags.kad, bool(flags.per_clip), flags.seed)
    with tempfile.TemporaryDirectory(prefix="vggish-fad-") as folder, exchange.place(engine, "sums") as place:
        found = compare(_sources(flags, engine, folder), engine, place, wanted)
    _write(flags, found)
    print(table(found))
    for note in found.notes:
        print(f"note: {text(note)}", file=sys.stderr)
    if not (flags.json or flags.per_clip):
        streams.expect_printed()


def _write(flags: Namespace, found: Comparison) -> None:
    from pipeline import storage

    if flags.json:
        content = json.dumps(found.to_json(), indent=2, ensure_ascii=False) + "\n"
        storage.write_atomic(flags.json, content.encode("utf-8", "replace"))
    if flags.per_clip:
        storage.write_atomic(flags.per_clip, by_clip(found).encode("utf-8", "replace"))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)
