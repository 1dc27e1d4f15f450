from __future__ import annotations

import subprocess
import sys

from vggish_core import params


def test_derived_values_follow_from_the_originals():
    assert round(params.SAMPLE_RATE * params.STFT_WINDOW_LENGTH_SECONDS) == params.STFT_WINDOW_SAMPLES
    assert round(params.SAMPLE_RATE * params.STFT_HOP_LENGTH_SECONDS) == params.STFT_HOP_SAMPLES
    assert params.FFT_LENGTH // 2 < params.STFT_WINDOW_SAMPLES <= params.FFT_LENGTH
    assert params.FFT_LENGTH // 2 + 1 == params.NUM_SPECTROGRAM_BINS
    assert round(params.EXAMPLE_WINDOW_SECONDS / params.STFT_HOP_LENGTH_SECONDS) == params.NUM_FRAMES
    assert round(params.EXAMPLE_HOP_SECONDS / params.STFT_HOP_LENGTH_SECONDS) == params.EXAMPLE_HOP_FRAMES
    frames = (params.NUM_FRAMES - 1) * params.STFT_HOP_SAMPLES + params.STFT_WINDOW_SAMPLES
    assert frames == params.EXAMPLE_SAMPLES


def test_importing_the_package_loads_neither_tensorflow_nor_a_decoder():
    code = (
        "import sys, vggish_core, vggish_core.params, vggish_core.features.examples\n"
        "print([m for m in ('tensorflow', 'av', 'soundfile', 'numba', 'resampy', 'apache_beam') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    import vggish_core

    for name in (
        "waveform_to_examples",
        "wavfile_to_examples",
        "open_audio",
        "AudioError",
        "ExampleStream",
        "resample",
    ):
        assert name in vggish_core.__all__
        assert callable(getattr(vggish_core, name))
    assert not hasattr(vggish_core, "no_such_name")
