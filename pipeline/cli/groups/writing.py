"""Flags: what to write."""

from __future__ import annotations

from typing import Any, get_args

from pipeline.cli.flags import positive_int, share_or_count
from pipeline.settings import Model, Output
from pipeline.types import EmbeddingKind, RecordFormat


def add_output(group: Any) -> None:
    """Adds the output flags."""
    group.add_argument(
        "--config",
        metavar="FILE",
        help="flags as YAML, one a line, over which those given here go; each run leaves its own as config.yaml in its "
        "output (default: none)",
    )
    group.add_argument("--output", metavar="DIR", help="folder of the data set; local, gs:// or s3:// (required)")
    group.add_argument(
        "--num_shards", type=positive_int, metavar="N", help="number of record files (default: by the corpus' size)"
    )
    group.add_argument(
        "--record_format",
        choices=get_args(RecordFormat),
        default=Output.record_format,
        help="the records' keys (default: %(default)s)",
    )
    group.add_argument(
        "--embeddings",
        choices=get_args(EmbeddingKind),
        default=Model.embeddings,
        help="8-bit as released, floats after the PCA, or the network's own floats (default: %(default)s)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="start over: replace the data set in --output (default: continue it)"
    )
    group.add_argument(
        "--report",
        choices=("on", "off"),
        default="on",
        help="write report.html, a page that shows what is in the data set (default: %(default)s)",
    )
    group.add_argument(
        "--report_audio",
        choices=("on", "off"),
        default="on",
        help="a few seconds of some clips in report.html, to be heard there (default: %(default)s)",
    )
    group.add_argument(
        "--also",
        choices=("parquet",),
        help="also write data/*.parquet, a file a shard, and README.md, a data set card (default: only records)",
    )
    group.add_argument(
        "--retry_failed",
        action="store_true",
        help="try clips again that failed in earlier runs (default: keep their failures)",
    )
    group.add_argument("--prune", action="store_true", help="drop clips whose files are gone (default: keep them)")
    group.add_argument(
        "--max_failures",
        type=share_or_count,
        default="5%",
        metavar="N|N%",
        help="exit 1 if more clips fail, a number or a share, after writing everything (default: %(default)s)",
    )
