"""Audio files -> samples: the choice of decoder, the file's content, what is missing. Loads no decoder."""

from vggish_core.audio.opening import open_audio, open_otherwise
from vggish_core.audio.reader import AudioReader
from vggish_core.audio.source import AudioError, GapError

__all__ = ["AudioError", "AudioReader", "GapError", "open_audio", "open_otherwise"]
