"""The command's own flags, in the groups that its help shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from pipeline.cli.flags import hop_seconds, positive_float, positive_int, share_or_count, task
from pipeline.settings import KERNELS, PIECE_S, PRECISIONS, Crawl, Decoding, FrontEnd, Model, Output
from pipeline.types import Damaged, DuplicateIds, EmbeddingKind, RecordFormat, SegmentAudio, ShortClips


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
        help="CSV or JSON lines: uri and optionally id, start_seconds, end_seconds, labels; or a list of NeMo, Lhotse, "
        "Kaldi, FSD50K, ESC-50, AudioSet's strong labels (default: none)",
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


def add_model(group: Any) -> None:
    """Adds the network's flags."""
    group.add_argument(
        "--checkpoint",
        metavar="NAME|FILE",
        default=Model.checkpoint,
        help="released (Google's), standin (random weights, no meaning), a path or URI (default: %(default)s)",
    )
    group.add_argument(
        "--pca_params",
        metavar="NAME|FILE",
        default=Model.pca_params,
        help="the same for the PCA's .npz (default: %(default)s)",
    )
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=Model.precision,
        help="of the network (default: %(default)s)",
    )
    group.add_argument(
        "--convolutions",
        choices=KERNELS,
        default=None,
        help="kernel: 4 x fewer multiplications, or TensorFlow's own (default: winograd; direct with bfloat16)",
    )


def add_policies(group: Any) -> None:
    """Adds the flags of the front end."""
    group.add_argument(
        "--hop_seconds",
        type=hop_seconds,
        default=FrontEnd.hop_seconds,
        metavar="S",
        help="seconds from one example to the next, in steps of 0.01; 1.0 is YouTube-8M's (default: %(default)s)",
    )
    group.add_argument(
        "--short_clips",
        choices=get_args(ShortClips),
        default=FrontEnd.short_clips,
        help="clips under one example of 0.975 s: list as skipped, pad with zeros, or fail (default: %(default)s)",
    )
    group.add_argument(
        "--max_duration_seconds",
        type=positive_float,
        metavar="S",
        help="longer clips, in seconds, fail as too_long (default: no limit)",
    )
    group.add_argument(
        "--damaged",
        choices=get_args(Damaged),
        default=FrontEnd.damaged,
        help="clips of damaged or shortened files: fail, or keep what decodes and mark it (default: %(default)s)",
    )


def add_running(group: Any) -> None:
    """Adds the flags of execution."""
    group.add_argument(
        "--check",
        action="store_true",
        help="change nothing: try a sample and the output's storage, report what a run would do and take",
    )
    group.add_argument(
        "--runner",
        default="DirectRunner",
        metavar="NAME",
        help="DirectRunner (this machine, all cores), or one of Beam's (default: %(default)s)",
    )
    group.add_argument(
        "--shared_filesystem",
        action="store_true",
        help="local paths are the same folders on all workers' machines (default: refused for workers elsewhere)",
    )
    group.add_argument(
        "--segment_seconds",
        type=positive_float,
        default=Decoding.segment_seconds,
        metavar="S",
        help="longer WAV, RF64, FLAC, AIFF, CAF, W64 files are embedded in parallel parts (default: %(default)g s)",
    )
    group.add_argument(
        "--piece_seconds",
        type=positive_float,
        default=PIECE_S,
        metavar="S",
        help="write finished rows at least this often: a kill costs no more (default: %(default)g s)",
    )
    group.add_argument(
        "--task",
        type=task,
        metavar="I/N",
        help="compute share I (from 0) of N of the clips, of an output that N commands share; the last one done "
        "commits all, as does --task finish (default: the whole output)",
    )
    group.add_argument(
        "--no_wait",
        action="store_true",
        help="end once the engine has taken the job, which commits the data set itself (default: wait for its end)",
    )
    group.add_argument(
        "--restart",
        action="store_true",
        help="cancel the job that an engine still does for --output, then continue (default: refuse to run beside it)",
    )
    group.add_argument(
        "--gcs_anonymous",
        action="store_true",
        help="read public gs:// objects without credentials (default: Google's application default credentials)",
    )
    group.add_argument(
        "--decoders", type=positive_int, metavar="N", help="number of decoder processes per worker (default: its cores)"
    )
    group.add_argument(
        "--decode_timeout_seconds",
        type=positive_float,
        default=Decoding.timeout_s,
        metavar="S",
        help="stop a decoder that makes no progress for this long (default: %(default)g s)",
    )
    group.add_argument(
        "--decode_memory_mb",
        type=positive_int,
        default=Decoding.memory_mb,
        metavar="MB",
        help="memory that decoding one file may take (default: %(default)s MB)",
    )
    group.add_argument(
        "--threads", type=positive_int, metavar="N", help="number of batches at a time (default: all cores)"
    )
    group.add_argument(
        "--progress",
        choices=("auto", "on", "off"),
        default="auto",
        help="a bar on a terminal, a line every half minute elsewhere (default: %(default)s)",
    )
    group.add_argument(
        "--verbose",
        action="store_true",
        help="show Beam's and TensorFlow's messages, and tracebacks (default: only our own)",
    )


def add_reading(group: Any) -> None:
    """Adds the flags about the input and where it is."""
    add_input(group)
    add_crawl(group)


GROUPS: dict[str, Callable[[Any], None]] = {
    "what to read": add_reading,
    "what to write": add_output,
    "which network": add_model,
    "how audio becomes examples": add_policies,
    "how to run": add_running,
}
"""All of them, by the titles that the help shows."""
