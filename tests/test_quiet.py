"""TensorFlow's import: silent, and without Keras until somebody wants that."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORT = """
import sys
from vggish_core.quiet import import_tensorflow
tf = import_tensorflow()
"""
NETWORK = """
assert "keras" not in sys.modules
from vggish_core.network.slim import define_vggish_slim
with tf.Graph().as_default():
    define_vggish_slim()
assert "keras" not in sys.modules
"""
KERAS = """
from tensorflow.keras import layers
assert tf.keras.layers.Dense is layers.Dense
import keras
assert keras.layers.Dense is layers.Dense
"""
BEFORE = """
import keras
"""


def run(program: str) -> str:
    """A program's standard error; it has to succeed."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.ci
def test_tensorflow_is_imported_without_a_word_and_without_keras_which_the_network_does_not_need() -> None:
    assert not run(IMPORT + NETWORK)


@pytest.mark.full
def test_keras_is_there_when_it_is_first_used() -> None:
    run(IMPORT + KERAS)


@pytest.mark.full
def test_keras_that_was_imported_before_stays() -> None:
    run(BEFORE + IMPORT + KERAS)
