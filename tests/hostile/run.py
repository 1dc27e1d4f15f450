"""`python -m pipeline.run` whose decoders misbehave as files' names say: `python -m tests.hostile.run FLAGS`."""

from __future__ import annotations

import sys

from pipeline import decoders, run
from pipeline.settings import Decoding, FrontEnd

COMMAND = (sys.executable, "-m", "tests.hostile.named")


class HostilePool(decoders.DecoderPool):
    """A pool of them."""

    def __init__(self, front_end: FrontEnd, decoding: Decoding) -> None:
        super().__init__(front_end, decoding, COMMAND)


if __name__ == "__main__":
    decoders.DecoderPool = HostilePool  # type: ignore[misc]
    sys.exit(run.main())
