"""Flags: how to run."""

from __future__ import annotations

from typing import Any

from pipeline.cli.flags import positive_float, positive_int, task
from pipeline.settings import PIECE_S, Decoding


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
