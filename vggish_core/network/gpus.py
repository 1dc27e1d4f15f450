"""The GPU that TensorFlow computes on, asked for without loading TensorFlow where there can be none."""

from __future__ import annotations

import os
import sys

from vggish_core.errors import UserError
from vggish_core.quiet import import_tensorflow

DEVICES = ("/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""Linux paths of GPUs: without one of them, importing TensorFlow is not worth its seconds."""


class NoGpuError(UserError):
    """TensorFlow sees no GPU, and a setting is for GPUs only."""


def expect_gpu() -> None:
    """Raises NoGpuError where TensorFlow sees no GPU."""
    if not gpu():
        raise NoGpuError("TensorFlow sees no GPU here", "Use float32: on processors bfloat16 is no faster")


def gpu() -> str:
    """The name of the GPU that TensorFlow computes on in this process; "" if there is none."""
    if sys.platform == "linux" and not any(map(os.path.exists, DEVICES)):
        return ""
    tf = import_tensorflow()
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return ""
    details = tf.config.experimental.get_device_details(devices[0])
    return str(details.get("device_name", devices[0].name))
