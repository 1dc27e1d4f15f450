"""A decoder process that misbehaves in the middle of files whose names say so: `python -m tests.hostile.named FD`.

A file called "VERB ..." is read as any other up to its first examples, and then the process does what VERB says
(`tests.hostile.decoder.misbehave`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.decoding import decode, process
from pipeline.decoding.segment_decoder import Examples
from pipeline.settings import FrontEnd
from pipeline.types import DecodeRequest
from tests.hostile.decoder import misbehave


def read(request: DecodeRequest, front_end: FrontEnd, progress: decode.Progress) -> Iterator[decode.Item]:
    """As the real decoder, until there are examples."""
    for item in decode.read(request, front_end, progress):
        yield item
        if isinstance(item, Examples):
            misbehave(Path(request.uri).name.partition(" ")[0])


if __name__ == "__main__":
    process.main(read)
