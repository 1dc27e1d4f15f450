"""What `--version` says: everything that takes part in making the bytes."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import OK
from pipeline.extras import DISTRIBUTION


def main(argv: Sequence[str] | None = None) -> int:
    """Prints it -> exit status."""
    print(described())
    return OK


def described() -> str:
    """The version of this package, then those of Python and of others, and the processor, a line each."""
    from pipeline.output import made_with
    from vggish_core.codegen.registers import register_tile

    versions = made_with.versions()
    lines = [f"{DISTRIBUTION} {versions.pop(DISTRIBUTION, 'not installed')}"]
    lines += [f"  {name} {version}" for name, version in versions.items()]
    lines.append(f"  processor {made_with.processor()}, {made_with.arithmetic()}")
    lines.append(f"  kernel vectors of {register_tile().lanes} float32")
    return "\n".join(lines)
