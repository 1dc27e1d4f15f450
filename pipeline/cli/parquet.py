"""Records <-> Parquet, for pandas, Polars, scikit-learn or PyTorch: one row a record, and nothing lost either way.

python -m pipeline.parquet --input 'embeddings/*.tfrecord' --output embeddings.parquet
python -m pipeline.parquet --input embeddings.parquet --output embeddings.tfrecord
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.command import ProgramParser, add_incomplete, run_command
from pipeline.cli.flags import positive_float
from pipeline.errors import FlagError
from pipeline.output.loading.parquet import from_parquet, to_parquet


def _main(argv: Sequence[str]) -> None:
    parser = ProgramParser("pipeline.parquet", __doc__)
    parser.add_argument("--input", required=True, metavar="PATTERN", help="TFRecord files, or one .parquet file")
    parser.add_argument("--output", required=True, metavar="FILE", help="a .parquet file, or one TFRecord file")
    parser.add_argument("--hop_seconds", type=positive_float, help="default: from the manifest beside the records")
    add_incomplete(parser)
    flags = parser.parse_args(argv)
    ours, others = (name.endswith(".parquet") for name in (flags.output, flags.input))
    if ours == others:
        fault = "both end in .parquet" if ours else "neither ends in .parquet"
        remedy = f"Write --output {flags.output.removesuffix('.parquet')}.{'tfrecord' if ours else 'parquet'}"
        raise FlagError(f"--input {flags.input}, --output {flags.output}: {fault}", remedy)
    if flags.output.endswith(".parquet"):
        count = to_parquet(flags.input, flags.output, hop_s=flags.hop_seconds, incomplete=flags.incomplete)
    else:
        count = from_parquet(flags.input, flags.output)
    print(f"{count:,} records: {flags.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run_command(_main, argv)
