"""`python -m vggish_core.network.preparing CHECKPOINT FOLDER`: the process that prepares a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

from vggish_core.network.checkpoints import CheckpointVariables
from vggish_core.network.model import Embedder, KernelError, check_kernel
from vggish_core.network.prepared import REFUSED, write


def main() -> int:
    """Prepares and checks the checkpoint that the first argument names, into the folder that the second does."""
    checkpoint, folder = sys.argv[1:]
    embedder = Embedder(CheckpointVariables(checkpoint), convolutions="winograd")  # not what was prepared before
    try:
        check_kernel(embedder)
    except KernelError as error:
        print(error, file=sys.stderr)
        return REFUSED
    assert embedder.winograd is not None
    write(Path(folder), embedder.winograd.factors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
