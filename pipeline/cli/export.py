"""A data set as arrays for scikit-learn or PyTorch: a float vector a clip, the mean of its frames, or all frames.

python -m pipeline.export embeddings --to npy arrays                    arrays/X.npy and arrays/clips.csv
python -m pipeline.export embeddings --to npz clips.npz
python -m pipeline.export 'audioset/eval/*.tfrecord' --to parquet frames.parquet --level frame
python -m pipeline.export embeddings --to hoplite database --level frame        for perch-hoplite's notebooks
python -m pipeline.export embeddings --to tfds birds/1.0.0                      for TensorFlow Datasets
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.errors import FlagError
from pipeline.formatting import clips, number_of


def _main(argv: Sequence[str]) -> None:
    parser = ProgramParser("pipeline.export", __doc__)
    parser.add_argument("output", help="the data set's folder, or record files")
    parser.add_argument("destination", metavar="DEST", help="a new folder (npy, hoplite, tfds) or a file named as --to")
    kinds = ("npy", "npz", "parquet", "hoplite", "tfds")
    parser.add_argument("--to", required=True, choices=kinds, help="the kind of files")
    parser.add_argument(
        "--level", choices=("clip", "frame"), default="clip", help="what a vector stands for (default: %(default)s)"
    )
    add_incomplete(parser)
    flags = parser.parse_args(argv)
    if flags.to in ("npz", "parquet") and not flags.destination.endswith(f".{flags.to}"):
        raise FlagError(f"{flags.destination} does not end in .{flags.to}", f"Write {flags.destination}.{flags.to}")
    from pipeline import storage
    from pipeline.output.exporting.export import export_arrays
    from pipeline.output.layout import MANIFEST, join

    whole = storage.exists(join(flags.output, MANIFEST))
    pattern = join(flags.output, "embeddings-*.tfrecord") if whole else flags.output
    done = export_arrays(pattern, flags.destination, flags.to, flags.level, flags.incomplete)
    vectors = "" if flags.level == "clip" else f", {number_of(done.rows, 'frame')}"
    print(f"{clips(done.clips)}{vectors}: {flags.destination}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)
