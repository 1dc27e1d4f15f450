"""What a comparison is to compute. No NumPy: the command shows its help with it."""

from __future__ import annotations

from dataclasses import dataclass

KERNEL_FRAMES = 5000
"""Frames of each set that a kernel distance is computed of unless said otherwise: pairs grow with the square."""


@dataclass(frozen=True)
class Wanted:
    """What to compute besides the Fréchet distance.

    Attributes:
      replicates: bootstrap resamples, for intervals; 0: no intervals.
      infinite: whether to extrapolate to infinite samples.
      kernel_frames: at most so many frames of each set for the Kernel Audio Distance; 0: none.
      clips: whether to compute each clip's distance.
      seed: of all draws.
    """

    replicates: int = 0
    infinite: bool = False
    kernel_frames: int = 0
    clips: bool = False
    seed: int = 0
