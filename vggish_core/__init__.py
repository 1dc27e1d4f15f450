"""VGGish in a notebook: waveforms and files -> log-mel examples -> embeddings, under the original code's names.

Importing the package loads neither TensorFlow nor a decoder: names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vggish_core.audio import AudioError, AudioReader, open_audio
    from vggish_core.examples import ExampleStream, num_examples, waveform_to_examples, wavfile_to_examples
    from vggish_core.mel_features import log_mel_spectrogram
    from vggish_core.model import Embedder, define_vggish_slim, load_vggish_slim_checkpoint
    from vggish_core.postprocess import Postprocessor
    from vggish_core.resampling import Resampler, resample

_MODULES = {
    "AudioError": "audio",
    "AudioReader": "audio",
    "Embedder": "model",
    "ExampleStream": "examples",
    "Postprocessor": "postprocess",
    "Resampler": "resampling",
    "define_vggish_slim": "model",
    "load_vggish_slim_checkpoint": "model",
    "log_mel_spectrogram": "mel_features",
    "num_examples": "examples",
    "open_audio": "audio",
    "resample": "resampling",
    "waveform_to_examples": "examples",
    "wavfile_to_examples": "examples",
}

__all__ = [
    "AudioError",
    "AudioReader",
    "Embedder",
    "ExampleStream",
    "Postprocessor",
    "Resampler",
    "define_vggish_slim",
    "load_vggish_slim_checkpoint",
    "log_mel_spectrogram",
    "num_examples",
    "open_audio",
    "resample",
    "waveform_to_examples",
    "wavfile_to_examples",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
