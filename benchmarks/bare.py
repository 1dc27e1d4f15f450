"""Bare inference as a process: `python -m benchmarks.bare CHECKPOINT EXAMPLES`, on the cores that it may use."""

from __future__ import annotations

import sys

from benchmarks.network import made_examples
from benchmarks.reference_model import BareSession


def main() -> None:
    """Embeds so many examples in batches of 64."""
    checkpoint, count = sys.argv[1:]
    with BareSession(checkpoint) as bare:
        bare(made_examples(int(count)))


if __name__ == "__main__":
    main()
