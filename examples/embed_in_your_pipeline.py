"""VGGish as one step of a Beam pipeline of your own: files -> a JSON line each, and the reasons of those that failed.

    python -m examples.make_audio demo/audio
    python -m examples.embed_in_your_pipeline --input 'demo/audio/**' --output demo/index \
        --checkpoint standin --pca standin

A line of `demo/index-embedded-…` has the file, its seconds and the mean of its embeddings, for a search index say; a
line of `demo/index-failed-…` the file and why it has none. Flags beside these are Beam's.
"""

from __future__ import annotations

import argparse
import json

import apache_beam as beam
from apache_beam.io import WriteToText, fileio
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import EmbedAudio, EmbeddedClip, FailedClip, dequantize


def embedded_line(clip: EmbeddedClip) -> str:
    """A clip's embeddings uint8 [k, 128] -> its line."""
    mean = dequantize(clip.values).mean(axis=0)
    return json.dumps({"uri": clip.uri, "seconds": clip.end_seconds, "mean": mean.round(4).tolist()})


def failed_line(clip: FailedClip) -> str:
    """Why a clip has no embeddings -> its line."""
    return json.dumps({"uri": clip.uri, "reason": clip.reason, "message": clip.message, "skipped": clip.skipped})


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--input", required=True, help="a pattern of Beam's: ** is all levels")
    parser.add_argument("--output", required=True, help="beginning of the files' names")
    parser.add_argument("--checkpoint", default="released", help="released, standin, or a file")
    parser.add_argument("--pca", default="released", help="the same")
    # FnApiRunner is the DirectRunner that downloads nothing.
    parser.add_argument("--runner", default="FnApiRunner")
    flags, rest = parser.parse_known_args()
    with beam.Pipeline(options=PipelineOptions(["--runner", flags.runner, *rest])) as root:
        result = root | fileio.MatchFiles(flags.input) | EmbedAudio(checkpoint=flags.checkpoint, pca=flags.pca)
        embedded = result.embeddings | "Embedded lines" >> beam.Map(embedded_line)
        failed = result.failed | "Failed lines" >> beam.Map(failed_line)
        embedded | "Write embedded" >> WriteToText(f"{flags.output}-embedded", ".jsonl")
        failed | "Write failed" >> WriteToText(f"{flags.output}-failed", ".jsonl")


if __name__ == "__main__":
    main()
