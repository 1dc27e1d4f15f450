"""Builds slow prerequisites of tests once, before pytest starts: `python -m tests.prepare`.

The stand-in weights, what is prepared of them and compiled for this processor: by one run of the command.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from tests import conftest
from tests.command import embed


def main() -> None:
    print(f"Preparing weights and kernels, once, about a minute: {conftest.CACHE}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.wav")
        soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 48_000), 48_000)
        done = embed(Path(folder, "out"), "--input", clip)
        if done.status:
            sys.exit(done.err)


if __name__ == "__main__":
    main()
