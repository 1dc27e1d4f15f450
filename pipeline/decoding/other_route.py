"""Decodes a file with the other decoder, for an audit to compare lengths."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from pipeline.decoding.decode import explain
from pipeline.decoding.opening import Progress, open_file
from pipeline.types import Probe
from vggish_core.audio import AudioError, open_otherwise


def measure(uri: str, progress: Progress, place: str = "") -> Probe | None:
    """A file -> what the other decoder gives of it, to its end or where it fails; None where no other reads it.

    `place`: as of `open_file`.
    """
    try:
        with ExitStack() as stack:
            file = open_file(uri, stack, progress, place=place)
            if isinstance(file, str):
                file = stack.enter_context(Path(file).open("rb"))
            audio = open_otherwise(file)
            if audio is None:
                return None
            stack.enter_context(audio)
            audio.close_gaps = True
            with suppress(AudioError):
                for _ in audio.blocks():
                    progress()
            return Probe(audio.position, audio.sample_rate_hz, seekable=False)
    except Exception as error:
        explain(error)
        return None
