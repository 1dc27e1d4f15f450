"""The length of a file's audio by another route than that of a run, for an audit to compare."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

from pipeline.decoding.decode import explain
from pipeline.decoding.opening import Progress, open_file
from pipeline.types import Probe
from vggish_core.audio import AudioError, open_otherwise
from vggish_core.audio.source import NamelessFile


def measure(uri: str, progress: Progress, place: str = "") -> Probe | None:
    """A file -> its length by another route; None where there is none.

    FFmpeg decodes, to the end or where it fails, what libsndfile is first for. Of other files libsndfile reads what it
    can, and for those that it does not open the clock of the packets says how long they are.

    `place`: as of `open_file`.
    """
    try:
        with ExitStack() as stack:
            file = open_file(uri, stack, progress, place=place)
            if isinstance(file, str):
                file = stack.enter_context(Path(file).open("rb"))
            audio = open_otherwise(file)
            if audio is None:
                from vggish_core.audio import lengths

                found = lengths.otherwise(NamelessFile(file), progress)
                return Probe(*found, seekable=False) if found else None
            stack.enter_context(audio)
            audio.close_gaps = True
            with suppress(AudioError):
                for _ in audio.blocks():
                    progress()
            return Probe(audio.position, audio.sample_rate_hz, seekable=False)
    except Exception as error:
        explain(error)
        return None
