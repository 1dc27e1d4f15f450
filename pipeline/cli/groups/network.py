"""Flags: which network, and how audio becomes its examples."""

from __future__ import annotations

from typing import Any, get_args

from pipeline.cli.flags import hop_seconds, positive_float
from pipeline.settings import KERNELS, PRECISIONS, FrontEnd, Model
from pipeline.types import Damaged, ShortClips


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
        help="of the network; bfloat16 needs a GPU (default: %(default)s)",
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
