"""Audio files -> samples: which decoder reads a file, what it holds, what is missing. No decoder is loaded yet."""

from vggish_core.audio.opening import open_audio, open_otherwise
from vggish_core.audio.reader import AudioReader
from vggish_core.audio.source import AudioError, GapError

__all__ = ["AudioError", "AudioReader", "GapError", "open_audio", "open_otherwise"]
