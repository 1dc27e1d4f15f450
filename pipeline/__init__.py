"""Audio corpora to VGGish embedding data sets, on Apache Beam.

`python -m pipeline.run` is the command, `pipeline.EmbedAudio` the same within a Beam pipeline of yours;
docs/design.md says where everything lives. Importing the package loads neither Beam nor TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.embed_audio import EmbedAudio

    __version__: str

__all__ = ["EmbedAudio", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # of setup.py, as it was installed
        from importlib.metadata import version

        return version("vggish-pipeline")
    if name != "EmbedAudio":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.embed_audio import EmbedAudio

    return EmbedAudio
