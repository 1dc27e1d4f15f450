"""`python -m pipeline.run` whose decoders misbehave as files' names say: `python -m tests.hostile.run FLAGS`.

With TEST_NETWORK=digests in the environment it has no network either, but `tests.in_process.digests`.
"""

from __future__ import annotations

import os
import sys

from pipeline import run
from pipeline.decoding import decoders
from pipeline.embedding import models
from pipeline.settings import Decoding, FrontEnd
from tests.in_process import CHEAP_NETWORK

COMMAND = (sys.executable, "-m", "tests.hostile.named")


class HostilePool(decoders.DecoderPool):
    """A pool of them."""

    def __init__(self, front_end: FrontEnd, decoding: Decoding) -> None:
        super().__init__(front_end, decoding, COMMAND)


if __name__ == "__main__":
    decoders.DecoderPool = HostilePool  # type: ignore[misc]
    if os.environ.get("TEST_NETWORK") == "digests":
        for name, function in CHEAP_NETWORK.items():
            setattr(models, name, function)
    sys.exit(run.main())
