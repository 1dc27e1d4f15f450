"""Flags: what to read, and where it is."""

from __future__ import annotations

from typing import Any, get_args

from pipeline.cli.flags import positive_int
from pipeline.settings import Crawl
from pipeline.types import DuplicateIds, SegmentAudio


def add_reading(group: Any) -> None:
    """Adds the flags about the input and where it is."""
    add_input(group)
    add_crawl(group)


def add_input(group: Any) -> None:
    """Adds the input flags to an `argparse` group."""
    group.add_argument(
        "--input",
        metavar="PATTERN",
        action="extend",
        nargs="+",
        default=[],
        help="audio files, or archives of them (tar, zip); a folder means everything below it, ** recurses; local, "
        "gs:// or s3://; repeatable (default: none)",
    )
    group.add_argument(
        "--exclude",
        metavar="GLOB",
        action="extend",
        nargs="+",
        default=[],
        help="leave out files and folders of --input whose name, or with a slash whose path below the input, matches, "
        "but no rows of Parquet; repeatable (default: none)",
    )
    group.add_argument(
        "--manifest",
        metavar="FILE",
        help="CSV or JSON lines: uri and optionally id, start_seconds, end_seconds, labels, and for --record_format "
        "youtube8m segment_scores; or a list of NeMo, Lhotse, Kaldi, FSD50K, ESC-50, AudioSet's strong labels "
        "(default: none)",
    )
    group.add_argument(
        "--segments", metavar="CSV", help="a segment list in AudioSet's format for the audio of --input (default: none)"
    )
    group.add_argument(
        "--class_labels", metavar="CSV", help="class_labels_indices.csv: MID -> class index (default: none)"
    )
    group.add_argument(
        "--labels_from",
        metavar="RULE",
        default="",
        help='labels in the paths of --input: "folder", "folder:2", or "filename:REGEX" with a group named label; or '
        'in files beside them: "json:KEY", "cls", "txt"; '
        "writes classes.csv unless there are --class_labels (default: none)",
    )
    group.add_argument(
        "--audio_column",
        metavar="NAME",
        default="",
        help="of Parquet files of --input: holds the audio, as binary or a struct with bytes (default: the only such)",
    )
    group.add_argument(
        "--id_column",
        metavar="NAME",
        default="",
        help="of Parquet files: holds the ids (default: the path in the audio's struct, or file and row)",
    )
    group.add_argument(
        "--labels_column",
        metavar="NAME",
        default="",
        help="of Parquet files: holds class indices, names or MIDs, or lists of them (default: no labels)",
    )
    group.add_argument(
        "--segment_audio",
        choices=get_args(SegmentAudio),
        default="whole",
        help="rows with times: files hold the whole recording, or just the segment (default: %(default)s)",
    )
    group.add_argument(
        "--duplicate_ids",
        choices=get_args(DuplicateIds),
        default="stop",
        help="clips with the same id and times: stop before any work, or fail each of them (default: %(default)s)",
    )


def add_crawl(group: Any) -> None:
    """Adds the flags about servers of http:// and https://."""
    group.add_argument(
        "--connections_per_host",
        type=positive_int,
        default=Crawl.connections,
        metavar="N",
        help="number of connections to a host of http(s):// at a time, on each machine (default: %(default)s)",
    )
    group.add_argument(
        "--max_download_mb",
        type=positive_int,
        default=Crawl.most_bytes >> 20,
        metavar="MB",
        help="larger files of http(s):// fail as too_large (default: %(default)s MB)",
    )
    group.add_argument(
        "--allow_private_hosts",
        action="store_true",
        help="read audio of http(s):// from loopback, link-local and private addresses, too (default: refused, since a "
        "list may come from a stranger)",
    )
