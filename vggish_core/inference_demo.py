"""One audio file -> its quantized embeddings, printed and written as the original demo's record.

The record is a `SequenceExample` with no context and one feature list, `audio_embedding`: 128 bytes an example. Without
--wav_file it embeds five seconds of a 1 kHz tone.

    python -m vggish_core.inference_demo --wav_file dog.wav --tfrecord_file dog.tfrecord

For many files, labels and context there is `python -m pipeline.run`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vggish_core import command, params
from vggish_core.features import synthetic

TONE_SECONDS = 5
TONE_SAMPLE_RATE = 44100


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit status."""
    made = command.parser("inference_demo", __doc__)
    command.add_pca_params(made)
    made.add_argument("--wav_file", help="audio file, WAV or any other format that can be read; none: a synthetic tone")
    made.add_argument("--tfrecord_file", help="where to write the record; none: it is only printed")
    return command.run(inference_demo, made, argv)


def inference_demo(args: argparse.Namespace) -> None:
    """The demo, printed on standard output.

    Raises:
      ValueError: if the file or the weights cannot be used.
    """
    examples = examples_of(args.wav_file)
    checkpoint = command.resolve(args.checkpoint, "checkpoint")
    pca_params = command.resolve(args.pca_params, "pca_params")

    from vggish_core.network.model import Embedder
    from vggish_core.network.postprocess import Postprocessor

    postprocessor = Postprocessor(pca_params.path)
    postprocessed = postprocessor.postprocess(Embedder(checkpoint.path).embed(examples))
    print(postprocessed)
    record = sequence_example(postprocessed)
    if args.tfrecord_file is None:
        print(record)
    else:
        write_record(args.tfrecord_file, record)
        print(f"{len(postprocessed)} embeddings written to {args.tfrecord_file}")


def examples_of(wav_file: str | None) -> np.ndarray:
    """A file's, or the tone's, examples float32 [k, 96, 64], k >= 1.

    Raises:
      ValueError: if the file cannot be read or holds less than one example.
    """
    from vggish_core.features.examples import waveform_to_examples

    if wav_file is not None:
        return command.examples_of(wav_file)
    return waveform_to_examples(synthetic.sine(TONE_SECONDS, TONE_SAMPLE_RATE), TONE_SAMPLE_RATE)


def sequence_example(postprocessed: np.ndarray) -> Any:
    """uint8 [k, 128] -> the original demo's `tf.train.SequenceExample`."""
    from vggish_core.quiet import import_tensorflow

    train = import_tensorflow().train
    rows = [train.Feature(bytes_list=train.BytesList(value=[row.tobytes()])) for row in postprocessed]
    lists = {params.AUDIO_EMBEDDING_FEATURE_NAME: train.FeatureList(feature=rows)}
    return train.SequenceExample(feature_lists=train.FeatureLists(feature_list=lists))


def write_record(path: str, record: Any) -> None:
    """Writes one record as a TFRecord file, whole or not at all."""
    from vggish_core.quiet import import_tensorflow

    path = command.from_home(path)
    partial = Path(f"{path}.part")
    with import_tensorflow().io.TFRecordWriter(str(partial)) as writer:
        writer.write(record.SerializeToString(deterministic=True))
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
