"""What tests take for granted, made once: `python -m tests.prepare`, before pytest starts; no test's time pays for it.

The stand-in weights, what is prepared of them and compiled for this processor: by one run of the command. With
`--engines` Prism too, at the same time, and with `--flink` Flink, which is a download of 310 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from tests import conftest
from tests.command import embed
from tests.engines import binaries


def weights() -> None:
    """Makes what a run needs, if it is not there."""
    print(f"Preparing weights and kernels, once, about a minute: {conftest.CACHE}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip.wav")
        soundfile.write(clip, np.random.default_rng(0).normal(0, 0.1, 48_000), 48_000)
        done = embed(Path(folder, "out"), "--input", clip)
        if done.status:
            sys.exit(done.err)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engines", action="store_true", help="Prism too")
    parser.add_argument("--flink", action="store_true", help="Flink too")
    flags = parser.parse_args()
    with ThreadPoolExecutor() as threads:
        tasks = [threads.submit(weights)]
        if flags.engines:
            tasks.append(threads.submit(binaries.build_prism))
        if flags.flink:
            tasks.append(threads.submit(binaries.unpack_flink))
        for task in tasks:
            task.result()


if __name__ == "__main__":
    main()
