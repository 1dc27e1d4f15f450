"""One vector a clip: the mean of its dequantized frames, in NumPy and in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np

from vggish_core.network.postprocess import Postprocessor

LEVELS = Postprocessor.dequantize(np.arange(256, dtype=np.uint8))
"""The float of each byte, float32 [256]."""


def dequantize(quantized: np.ndarray) -> np.ndarray:
    """Bytes uint8 [...] -> float32 [...], the middle of the interval that truncation maps to each byte.

    x = q * 4 / 255 + 4 / 512 - 2, as the YouTube-8M starter code. No byte becomes 0, which therefore can mark padding.
    """
    if quantized.dtype != np.uint8:
        raise ValueError(f"embeddings are {quantized.dtype}, not uint8: they are not quantized")
    return LEVELS[quantized]


def clip_mean(values: np.ndarray) -> np.ndarray:
    """Embeddings uint8 or float32 [k, 128] -> `clip_vector` of them, dequantized, float32 [128]."""
    return clip_vector(dequantize(values) if values.dtype == np.uint8 else values)


def clip_vector(frames: np.ndarray) -> np.ndarray:
    """Frames float32 [k, 128] -> their mean, taken in float64, float32 [128]; zeros for none."""
    total = frames.sum(axis=0, dtype=np.float64)
    return (total / max(len(frames), 1)).astype(np.float32)


def clip_vectors(tf: Any, frames: Any, num_frames: Any) -> Any:
    """Frames float32 [b, t, 128], zeros past `num_frames` [b] -> as `clip_vector` of each clip, float32 [b, 128]."""
    total = tf.reduce_sum(tf.cast(frames, tf.float64), axis=1)
    counts = tf.cast(tf.maximum(num_frames, 1), tf.float64)
    return tf.cast(total / counts[:, tf.newaxis], tf.float32)
