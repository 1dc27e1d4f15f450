"""Tests an installation of VGGish: a test tone through features, resampling, network and post-processing.

With the released weights the embeddings' means and deviations must be the published ones within 10 %. With others only
shapes and finiteness can be tested. Prints "Looks Good To Me!" if all is well.

    python -m vggish_core.smoke_test [--checkpoint ...] [--pca_params ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from vggish_core import command, params
from vggish_core.features import synthetic

RELATIVE_TOLERANCE = 0.1
EMBEDDING_MEAN_STD = (0.000657, 0.343)
"""Published: mean and standard deviation of the tone's raw embeddings (`vggish_smoke_test.py` of the original)."""
POSTPROCESSED_MEAN_STD = (126.0, 89.3)
"""Published: the same after PCA and quantizing."""
SAMPLE_RATE = 44100
OTHER_RATES = (8000, 11025, 16000, 22050, 32000, 48000, 96000)
LOG_MEL_TOLERANCE = 0.02
"""Largest difference of the tone's log-mel values between a rate and 16 kHz, where there is anything but silence."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the test; returns the exit status."""
    made = command.parser("smoke_test", __doc__)
    command.add_pca_params(made)
    return command.run(smoke_test, made, argv)


def smoke_test(args: argparse.Namespace) -> None:
    """The test, printed on standard output.

    Raises:
      FailedError: for what is not as it should be.
    """
    print("\nTesting your install of VGGish\n")
    checkpoint = command.resolve(args.checkpoint, "checkpoint")
    pca_params = command.resolve(args.pca_params, "pca_params")

    examples = _examples()
    print("Log Mel Spectrogram example: ", examples[0])
    _test_resampling()

    from vggish_core.network.model import Embedder, check_kernel
    from vggish_core.network.postprocess import Postprocessor

    postprocessor = Postprocessor(pca_params.path)
    embedder = Embedder(checkpoint.path)
    raw = embedder.embed(examples)
    print("VGGish embedding: ", raw[0])
    _require(raw.shape == (synthetic.TEST_SECONDS, params.EMBEDDING_SIZE), f"embeddings have shape {raw.shape}")
    _require(bool(np.isfinite(raw).all()), "embeddings hold NaN or infinite values")
    print(f"Kernel {embedder.convolutions}: {check_kernel(embedder):.2g} (relative RMS) from the plain graph")

    postprocessed = postprocessor.postprocess(raw)
    print("Postprocessed VGGish embedding: ", postprocessed[0])
    _require(postprocessed.shape == raw.shape, f"post-processed embeddings have shape {postprocessed.shape}")
    _require(postprocessed.dtype == np.uint8, f"post-processed embeddings are {postprocessed.dtype}")

    _test_numbers("raw embedding", raw, EMBEDDING_MEAN_STD, checkpoint.name == "released")
    both = checkpoint.name == pca_params.name == "released"
    _test_numbers("post-processed embedding", postprocessed, POSTPROCESSED_MEAN_STD, both)
    print("\nLooks Good To Me!\n")


def _examples() -> np.ndarray:
    from vggish_core.features.examples import waveform_to_examples

    examples = waveform_to_examples(synthetic.sine(synthetic.TEST_SECONDS, SAMPLE_RATE), SAMPLE_RATE)
    shape = (synthetic.TEST_SECONDS, params.NUM_FRAMES, params.NUM_BANDS)
    _require(examples.shape == shape, f"examples have shape {examples.shape}, not {shape}")
    return examples


def _test_resampling() -> None:
    """The tone sampled at any rate must look like the tone sampled at 16 kHz, its start and end apart."""
    from vggish_core.features.examples import waveform_to_examples

    tone = synthetic.sine(synthetic.TEST_SECONDS, params.SAMPLE_RATE)
    expected = waveform_to_examples(tone, params.SAMPLE_RATE)[1]
    audible = expected > np.log(params.LOG_OFFSET) + 1
    for rate in (SAMPLE_RATE, *OTHER_RATES):
        found = waveform_to_examples(synthetic.sine(synthetic.TEST_SECONDS, rate), rate)[1]
        difference = float(np.abs(found - expected)[audible].max())
        _require(difference <= LOG_MEL_TOLERANCE, f"resampled from {rate} Hz, log-mel values are {difference:.3g} off")
    rates = ", ".join(map(str, (SAMPLE_RATE, *OTHER_RATES)))
    print(f"Resampling from {rates} Hz: log-mel values within {LOG_MEL_TOLERANCE}")


def _test_numbers(what: str, values: np.ndarray, published: tuple[float, float], released: bool) -> None:
    mean, std = float(np.mean(values)), float(np.std(values))
    print(f"{what}: mean {mean:.6g}, standard deviation {std:.6g}")
    if not released:
        print(f"  NOT CHECKED against the published {published[0]:g} and {published[1]:g}: not the released weights")
        return
    for name, found, expected in zip(("mean", "standard deviation"), (mean, std), published, strict=True):
        close = abs(found - expected) <= RELATIVE_TOLERANCE * abs(expected)
        _require(close, f"{what}: {name} is {found:.6g}, not {expected:g} within {RELATIVE_TOLERANCE:.0%}")


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise command.FailedError(problem)


if __name__ == "__main__":
    sys.exit(main())
