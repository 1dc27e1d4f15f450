"""One vector a clip: the mean of its frames, in NumPy and in TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np


def clip_vector(frames: np.ndarray) -> np.ndarray:
    """Frames float32 [k, 128] -> their mean, taken in float64, float32 [128]; zeros for none."""
    total = frames.sum(axis=0, dtype=np.float64)
    return (total / max(len(frames), 1)).astype(np.float32)


def clip_vectors(tf: Any, frames: Any, num_frames: Any) -> Any:
    """Frames float32 [b, t, 128], zeros past `num_frames` [b] -> as `clip_vector` of each clip, float32 [b, 128]."""
    total = tf.reduce_sum(tf.cast(frames, tf.float64), axis=1)
    counts = tf.cast(tf.maximum(num_frames, 1), tf.float64)
    return tf.cast(total / counts[:, tf.newaxis], tf.float32)
