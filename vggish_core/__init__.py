"""VGGish in a notebook: waveforms and files -> log-mel examples -> embeddings, under the original code's names.

Importing the package loads neither TensorFlow nor a decoder: names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vggish_core.audio import AudioError, AudioReader, open_audio
    from vggish_core.features.examples import ExampleStream, num_examples, waveform_to_examples, wavfile_to_examples
    from vggish_core.features.mel_features import log_mel_spectrogram
    from vggish_core.features.resampling import Resampler, resample
    from vggish_core.network.model import Embedder
    from vggish_core.network.postprocess import Postprocessor
    from vggish_core.network.slim import define_vggish_slim, load_vggish_slim_checkpoint

_MODULES = {
    "AudioError": "audio",
    "AudioReader": "audio",
    "Embedder": "network.model",
    "ExampleStream": "features.examples",
    "Postprocessor": "network.postprocess",
    "Resampler": "features.resampling",
    "define_vggish_slim": "network.slim",
    "load_vggish_slim_checkpoint": "network.slim",
    "log_mel_spectrogram": "features.mel_features",
    "num_examples": "features.examples",
    "open_audio": "audio",
    "resample": "features.resampling",
    "waveform_to_examples": "features.examples",
    "wavfile_to_examples": "features.examples",
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
