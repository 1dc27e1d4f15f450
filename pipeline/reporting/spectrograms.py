"""Log-mel pictures for the report: some clips decoded again, by decoder processes, as far as their audio is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.decoding import decoders
from pipeline.output.ledger import LedgerEntry, changed
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import DecodeRequest, ExampleBlock, Failure, Segment
from vggish_core import params

EXAMPLES = 10
"""So many examples of a clip are decoded, from its start."""
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Spectrogram:
    """A clip's beginning as the network sees it, or why it cannot be shown.

    Attributes:
      entry: the clip.
      frames: log-mel [t, 64] float32, 10 ms each; None where `missing` says why.
      changed: the file is another one than was embedded.
    """

    entry: LedgerEntry
    frames: np.ndarray | None
    missing: str = ""
    changed: bool = False


def of(entries: Sequence[LedgerEntry], pool: decoders.DecoderPool) -> list[Spectrogram]:
    """Ledger entries of some clips with records, each of which costs a decoding -> their spectrograms, in order."""
    result = []
    for entry in entries:
        is_other = changed(entry)
        if is_other is None:
            result.append(Spectrogram(entry, None, "its audio is gone"))
            continue
        blocks, missing = [], ""
        for item in pool.submit(DecodeRequest(entry.uri, (_beginning(entry),))):
            if isinstance(item, ExampleBlock):
                blocks.append(item.examples)
            elif isinstance(item, Failure):
                missing = item.message
        frames = np.concatenate(blocks).reshape(-1, blocks[0].shape[-1]) if blocks else None
        result.append(Spectrogram(entry, frames, missing if frames is None else "", is_other))
    return result


@contextmanager
def pool(pad: bool) -> Iterator[decoders.DecoderPool]:
    """The decoders of the run that has just ended, where there are some: each takes a third of a second to start.

    Args:
      pad: clips of less than one example were padded.
    """
    front_end = FrontEnd(short_clips="pad" if pad else "fail")
    if kept := decoders.kept_pool(front_end.hop_seconds):
        yield kept
        return
    with decoders.DecoderPool(front_end, Decoding(processes=1, timeout_s=TIMEOUT_S)) as own:
        yield own


def _beginning(entry: LedgerEntry) -> Segment:
    """A clip -> its first examples: the whole of a short one, the first of two segments of a longer one."""
    if entry.audio_seconds <= EXAMPLES * params.EXAMPLE_HOP_SECONDS + 1:
        return Segment(entry.clip)
    return Segment(entry.clip, 0, 2, 0, EXAMPLES)
