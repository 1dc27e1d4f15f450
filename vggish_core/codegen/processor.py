"""Processor features of this machine beyond those that TensorFlow always uses."""

from __future__ import annotations

import platform
from pathlib import Path

from vggish_core.errors import UserError

_BFLOAT16_FLAGS = {"avx512_bf16": "AVX512_BF16", "amx_bf16": "AMX_BF16"}


class UnsupportedProcessorError(UserError):
    """The processor lacks what a setting needs."""


def processor_flags(cpuinfo: str = "/proc/cpuinfo") -> frozenset[str]:
    """The feature flags that the kernel lists for the first processor; empty where there is no such list."""
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return frozenset(next(flags, []))


def require_bfloat16(flags: frozenset[str] | None = None) -> None:
    """Returns if the processor multiplies in bfloat16: without that, bfloat16 is slower than float32 and no use.

    Args:
      flags: the processor's; None: this machine's.

    Raises:
      UnsupportedProcessorError: naming the features that are missing.
    """
    flags = processor_flags() if flags is None else flags
    if not flags & set(_BFLOAT16_FLAGS):
        wanted = " nor ".join(_BFLOAT16_FLAGS.values())
        found = f"this processor has neither {wanted}" if flags else f"{platform.system()} does not say whether"
        if not flags:
            found += f" this processor has {' or '.join(_BFLOAT16_FLAGS.values())}"
        raise UnsupportedProcessorError(f"{found}. Use precision float32.")
