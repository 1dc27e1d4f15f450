"""NumPy arrays as compiled loops take them."""

from __future__ import annotations

import numpy as np


def addresses(*arrays: np.ndarray) -> list[int]:
    """Where the values of arrays lie. The caller keeps the arrays as long as a call takes."""
    # `array.ctypes` says the same in Python, and takes ten times as long.
    return [array.__array_interface__["data"][0] for array in arrays]
