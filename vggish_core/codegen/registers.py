"""The vector registers of the processor that code is generated for, and the tiles of products that fill them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from llvmlite import binding

LINE = 16
"""float32 values in a cache line. Strides are one longer than need be, or all rows would share a few of them."""


@dataclass(frozen=True)
class RegisterTile:
    """The part of a product that registers hold: `rows` x (`vectors` * `lanes`) sums.

    Attributes:
      lanes: float32 values in a register.
      rows: rows of the left factor taken together.
      vectors: registers a row.
    """

    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def lines(self) -> int:
        """Cache lines of the right factor that a step takes."""
        return max(1, self.columns // LINE)

    @property
    def few_rows(self) -> int:
        """Rows of the smaller tile for what does not fill whole ones."""
        return self.rows // 3


# Sums, the right factor's vectors and one value of the left factor fill 27 of 32, or 15 of 16, registers.
AVX512 = RegisterTile(lanes=16, rows=12, vectors=2)
AVX2 = RegisterTile(lanes=8, rows=6, vectors=2)
NEON = RegisterTile(lanes=4, rows=6, vectors=4)
SSE = RegisterTile(lanes=4, rows=6, vectors=2)

CPU_NAME_VARIABLE = "NUMBA_CPU_NAME"
"""Numba's variable: the processor to generate code for, where it is not this one."""
_LEVELS = {"generic": SSE, "x86-64": SSE, "x86-64-v2": SSE, "x86-64-v3": AVX2, "x86-64-v4": AVX512}


def register_tile() -> RegisterTile:
    """The vector kind of the processor that code is generated for: this one, or a level that `NUMBA_CPU_NAME` names."""
    if (level := _named_level()) is not None:
        return level
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return AVX512
    if features.get("avx"):
        return AVX2
    return NEON if features.get("neon") else SSE


def _named_level() -> RegisterTile | None:
    """The level that `NUMBA_CPU_NAME` names, if it names one."""
    return _LEVELS.get(os.environ.get(CPU_NAME_VARIABLE, "").lower())


def fuses() -> bool:
    """Whether that processor multiplies and adds in one step, which rounds once."""
    if (level := _named_level()) is not None:
        return level in (AVX2, AVX512)
    features = binding.get_host_cpu_features()
    return bool(features.get("fma") or features.get("neon"))
