"""Audio corpora to VGGish embedding data sets, on Apache Beam.

`python -m pipeline.run` is the command, `pipeline.EmbedAudio` the same within a Beam pipeline of yours;
docs/design.md says where everything lives. Importing the package loads neither Beam nor TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.embed_audio import EmbedAudio

__all__ = ["EmbedAudio", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "EmbedAudio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.embed_audio import EmbedAudio

    return EmbedAudio
