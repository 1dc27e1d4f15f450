"""A finished data set in another number of shards: the same records, and nothing is embedded.

python -m pipeline.reshard embeddings --num_shards auto                 as many as a new data set of its clips has
python -m pipeline.reshard embeddings --num_shards 8
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pipeline import storage
from pipeline.cli.command import ProgramParser, run_command
from pipeline.cli.flags import positive_int
from pipeline.output.layout import join
from pipeline.output.resharding.change import reshard

AUTO = "auto"


def _number(text: str) -> int | None:
    """Text -> a number of shards; None for "auto"."""
    if text == AUTO:
        return None
    try:
        return positive_int(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None


def _main(argv: Sequence[str]) -> None:
    parser = ProgramParser("pipeline.reshard", __doc__)
    parser.add_argument("output", help="the data set's folder")
    parser.add_argument(
        "--num_shards",
        required=True,
        type=_number,
        metavar="N|auto",
        help="number of record files; auto: as for a new data set of its clips, 1,000 clips or 256 MB of audio each",
    )
    flags = parser.parse_args(argv)
    directory = storage.absolute(flags.output)
    done = reshard(directory, flags.num_shards)
    number, written = done.manifest.num_shards, done.manifest.totals["written"]
    was = "as before" if done.before == number else f"{done.before:,} before"
    shards = f"{number:,} shard" + ("s" if number != 1 else "")
    print(f"{written:,} records in {shards}, {was}: {join(directory, f'embeddings-*-of-{number:05d}.tfrecord')}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv, "The data set is whole. The same command begins again.")
