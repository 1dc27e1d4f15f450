"""The network as TF-Slim defines it: the graph, what a checkpoint gives it, and a session that runs it.

Definition, names of variables and tensors, and layer order are those of the original code (`vggish_slim.py`), so that
graphs and checkpoints move between the two. 863.9 million multiply-adds an example.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vggish_core import params
from vggish_core.network.checkpoints import VARIABLE_SHAPES, CheckpointVariables
from vggish_core.quiet import import_slim, import_tensorflow, without_layer_warnings

tf = import_tensorflow()
tf1 = tf.compat.v1


def define_vggish_slim(features_tensor: Any = None, training: bool = False) -> Any:
    """Adds VGGish to the default graph.

    Args:
      features_tensor: log-mel examples float32 [k, 96, 64]; None makes the placeholder `vggish/input_features:0`.
      training: whether the variables are trainable.

    Returns:
      The tensor `vggish/embedding:0`, float32 [k, 128]: the last layer's output with no activation.
    """
    slim = import_slim()
    both = [slim.conv2d, slim.fully_connected]
    with (
        without_layer_warnings(),
        slim.arg_scope(
            both,
            weights_initializer=tf1.truncated_normal_initializer(stddev=params.INIT_STDDEV),
            biases_initializer=tf1.zeros_initializer(),
            activation_fn=tf.nn.relu,
            trainable=training,
        ),
        slim.arg_scope([slim.conv2d], kernel_size=[3, 3], stride=1, padding="SAME"),
        slim.arg_scope([slim.max_pool2d], kernel_size=[2, 2], stride=2, padding="SAME"),
        tf1.variable_scope("vggish"),
    ):
        if features_tensor is None:
            shape = [None, params.NUM_FRAMES, params.NUM_BANDS]
            features_tensor = tf1.placeholder(tf.float32, shape, name="input_features")
        net = tf.reshape(features_tensor, [-1, params.NUM_FRAMES, params.NUM_BANDS, 1])
        net = slim.max_pool2d(slim.conv2d(net, 64, scope="conv1"), scope="pool1")
        net = slim.max_pool2d(slim.conv2d(net, 128, scope="conv2"), scope="pool2")
        net = slim.max_pool2d(slim.repeat(net, 2, slim.conv2d, 256, scope="conv3"), scope="pool3")
        net = slim.max_pool2d(slim.repeat(net, 2, slim.conv2d, 512, scope="conv4"), scope="pool4")
        net = slim.repeat(slim.flatten(net), 2, slim.fully_connected, 4096, scope="fc1")
        net = slim.fully_connected(net, params.EMBEDDING_SIZE, scope="fc2", activation_fn=None)
        return tf.identity(net, name="embedding")


def load_vggish_slim_checkpoint(session: Any, checkpoint_path: str | os.PathLike[str]) -> None:
    """Gives the VGGish variables of a session's graph the values of a checkpoint, V1 or V2; touches no other variable.

    Raises:
      CheckpointError: if the checkpoint cannot be read, or misses variables or has them in another shape or type.
      ValueError: if the graph does not define VGGish.
    """
    CheckpointVariables(checkpoint_path)  # names everything that is wrong at once; the saver stops at the first
    defined = {variable.op.name: variable for variable in session.graph.get_collection(tf1.GraphKeys.GLOBAL_VARIABLES)}
    missing = [name for name in VARIABLE_SHAPES if name not in defined]
    if missing:
        raise ValueError(f"the session's graph lacks {', '.join(missing)}: call define_vggish_slim in it first")
    with session.graph.as_default():
        saver = tf1.train.Saver([defined[name] for name in VARIABLE_SHAPES], name="vggish_load_pretrained")
        saver.restore(session, os.fspath(checkpoint_path))


def _in_bfloat16(features: Any) -> Any:
    """The same graph with layers in bfloat16; features, embedding and variables are float32."""

    def cast_variable(get: Callable[..., Any], name: str, dtype: Any, **options: Any) -> Any:
        return tf.cast(get(name, dtype=tf.float32, **options), dtype)

    with tf1.variable_scope("", custom_getter=cast_variable):
        return tf.cast(define_vggish_slim(tf.cast(features, tf.bfloat16)), tf.float32)


class SlimNetwork:
    """The slim graph in a session of its own: examples float32 [batch_size, 96, 64] -> float32 [batch_size, 128].

    Args:
      variables: VGGish's, by name.
      batch_size, precision, threads: as `Embedder`.
    """

    def __init__(
        self,
        variables: Mapping[str, np.ndarray],
        batch_size: int,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        self.batch_size = batch_size
        # Nothing in this graph can run side by side: each call stays on its caller's thread, and its operations alone
        # spread over the shared threads.
        config = tf1.ConfigProto(intra_op_parallelism_threads=threads or 0, inter_op_parallelism_threads=-1)
        with tf.Graph().as_default() as graph:
            shape = [batch_size, params.NUM_FRAMES, params.NUM_BANDS]
            features = tf1.placeholder(tf.float32, shape, name=params.INPUT_OP_NAME)
            embedding = _in_bfloat16(features) if precision == "bfloat16" else define_vggish_slim(features)
            self._session = tf1.Session(graph=graph, config=config)
            for variable in tf1.global_variables():
                initializer = variable.initializer
                self._session.run(initializer, {initializer.inputs[1]: variables[variable.op.name]})
            self._run = self._session.make_callable(embedding, feed_list=[features])

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        return self._run(examples)

    def close(self) -> None:
        """Frees the session and its copy of the variables."""
        self._session.close()
