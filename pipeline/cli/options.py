"""The command's flags, cheap to import, so that --help and flag errors are fast; Beam defines its own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pipeline.cli import config, groups
from pipeline.cli.flags import Parser, unknown_flag
from pipeline.errors import FlagError
from pipeline.settings import kernel_of

EXAMPLES = """\
examples:
  a folder, on this machine:
    python -m pipeline.run --runner DirectRunner --input 'audio/**' --output embeddings
  AudioSet's own list, with audio files named by their YouTube id:
    python -m pipeline.run --runner DirectRunner --input 'clips/**' --segments eval_segments.csv \\
        --class_labels class_labels_indices.csv --segment_audio cut --output embeddings
  a bucket, s3:// likewise:
    python -m pipeline.run --runner DirectRunner --input 'gs://bucket/audio/**' --output gs://bucket/embeddings
  on Flink (docs/engines.md):
    python -m pipeline.run --runner FlinkRunner --flink_master localhost:8081 --parallelism 8 \\
        --environment_type EXTERNAL --environment_config localhost:50000 \\
        --input '/shared/audio/**' --output /shared/embeddings
  on Dataflow (docs/engines.md):
    python -m pipeline.run --runner DataflowRunner --project my-project --region europe-west1 \\
        --temp_location gs://bucket/tmp --sdk_container_image IMAGE --sdk_location container \\
        --input 'gs://bucket/audio/**' --output gs://bucket/embeddings
  without Google's weights, to try things out:
    python -m pipeline.run --runner DirectRunner --input 'audio/**' --output trial \\
        --checkpoint standin --pca_params standin

Flags that are not listed here are Beam's own pipeline options and are passed on.
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's own flags, grouped by what people do."""
    result = Parser(
        prog="python -m pipeline.run",
        description="Audio in, VGGish embeddings out: AudioSet-style TFRecords of every recording.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for title, add in groups.GROUPS.items():
        add(result.add_argument_group(title))
    return result


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Arguments -> (the command's own flags, the rest: Beam's).

    Raises:
      FlagError: for a value that a flag does not take, or a combination that makes no sense.
    """
    flags, rest = parser().parse_known_args(config.expanded(argv))
    if stray := next((word for word in rest[:1] if not word.startswith("-")), ""):
        raise unknown_flag(stray, names())
    if not flags.output:
        raise FlagError("--output is missing", "Name the folder of the data set: --output embeddings")
    if not flags.input and not flags.manifest:
        raise FlagError("--input is missing", "Name the audio: --input 'audio/**' (or --manifest FILE)")
    if flags.exclude and not flags.input:
        raise FlagError(
            f"--exclude {flags.exclude[0]} is about what --input lists, and there is none",
            "Leave the rows out of --manifest",
        )
    if flags.manifest and flags.segments:
        raise FlagError(f"--manifest {flags.manifest} and --segments {flags.segments} both list clips", "Give one")
    if flags.segments and not flags.class_labels:
        raise FlagError(
            f"--segments {flags.segments} has labels as MIDs, and no table says which classes these are",
            "Name AudioSet's class_labels_indices.csv with --class_labels",
        )
    if flags.task and flags.overwrite:
        raise FlagError(
            f"--task {flags.task} --overwrite would throw away what the other tasks computed",
            "Choose a new --output, or remove the old one first",
        )
    if flags.task and flags.check:
        raise FlagError(f"--check tries the whole job, --task {flags.task} is a part of it", "Leave --task out")
    if flags.no_wait and (flags.task or flags.check):
        other = f"--task {flags.task}" if flags.task else "--check"
        raise FlagError(
            f"--no_wait hands the whole job to an engine, {other} does not", f"Leave out {other} or --no_wait"
        )
    if flags.precision == "bfloat16" and flags.convolutions == "winograd":
        raise FlagError(
            "--precision bfloat16 does not work with --convolutions winograd",
            "Leave --convolutions out or make it direct",
        )
    flags.any_kernel = flags.convolutions is None
    if flags.any_kernel:
        flags.convolutions = kernel_of(flags.precision)
    if flags.gcs_anonymous:
        rest.append("--no_auth")  # Beam's name for it, which workers get to know
    flags.beam_flags = rest
    return flags, rest


def names() -> list[str]:
    """The command's flags."""
    return list(parser()._option_string_actions)
