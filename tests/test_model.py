from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import reference_front_end
from benchmarks.reference_model import BareSession, float64_embeddings
from vggish_core import params
from vggish_core.digests import digests
from vggish_core.features.examples import wavfile_to_examples
from vggish_core.features.synthetic import synthetic_examples
from vggish_core.network import prepared
from vggish_core.network.checkpoints import VARIABLE_SHAPES, write_checkpoint
from vggish_core.network.gpus import NoGpuError, gpu
from vggish_core.network.model import (
    CheckpointError,
    Embedder,
    KernelError,
    check_kernel,
    read_variables,
)
from vggish_core.network.postprocess import Postprocessor
from vggish_core.network.slim import SlimNetwork, define_vggish_slim, load_vggish_slim_checkpoint, tf1

ROOT = Path(__file__).resolve().parents[1]
KERNELS = ("direct", "winograd")
OURS, ANY = 2e-6, 5e-6
"""Relative RMS distance from a float64 evaluation, at most: of the Winograd kernel, which is the same on all processors
(1.1e-6 here), and of TensorFlow's, which is nearer with AVX2 (0.8e-6) and farther with AVX-512."""


@pytest.fixture(scope="module")
def checkpoint(standin_weights: Path) -> Path:
    return standin_weights / "vggish_model.ckpt"


@pytest.fixture(scope="module")
def variables(checkpoint: Path) -> dict[str, np.ndarray]:
    return read_variables(checkpoint)


@pytest.fixture(scope="module")
def embedders(checkpoint: Path) -> dict[str, Embedder]:
    """An embedder a kernel. On processors with AVX2 the slim graph's rows differ with their position in some batch
    sizes (8 and 32, not 12, 16, 24 and 64): the default is what runs use."""
    return {kernel: Embedder(checkpoint, convolutions=kernel) for kernel in KERNELS}


@pytest.fixture(scope="module")
def examples() -> np.ndarray:
    return synthetic_examples(70, seed=7)


# The definition.


def test_graph_has_the_originals_names_and_shapes() -> None:
    with tf1.Graph().as_default() as graph:
        embedding = define_vggish_slim()
        assert graph.get_tensor_by_name(params.INPUT_TENSOR_NAME).shape.as_list() == [None, 96, 64]
        assert embedding is graph.get_tensor_by_name(params.OUTPUT_TENSOR_NAME)
        assert embedding.shape.as_list() == [None, 128]
        found = {variable.op.name: tuple(variable.shape) for variable in tf1.global_variables()}
        assert found == VARIABLE_SHAPES
        assert list(found) == list(VARIABLE_SHAPES)
        assert not tf1.trainable_variables()


def test_embedding_has_no_activation() -> None:
    with tf1.Graph().as_default():
        source = define_vggish_slim().op.inputs[0].op
    assert (source.type, source.name) == ("BiasAdd", "vggish/fc2/BiasAdd")


def test_training_makes_the_variables_trainable() -> None:
    with tf1.Graph().as_default():
        features = tf1.placeholder("float32", [5, 96, 64])
        assert define_vggish_slim(features, training=True).shape.as_list() == [5, 128]
        assert len(tf1.trainable_variables()) == len(VARIABLE_SHAPES)


# Checkpoints.


def test_released_layout_is_72_million_parameters(variables: dict[str, np.ndarray]) -> None:
    assert sum(value.size for value in variables.values()) == 72_141_184
    assert {name: value.shape for name, value in variables.items()} == VARIABLE_SHAPES


def biases_of(graph: Any) -> Any:
    variables = graph.get_collection(tf1.GraphKeys.GLOBAL_VARIABLES)
    return next(variable for variable in variables if variable.op.name == "vggish/fc2/biases")


@pytest.mark.ci
def test_v2_checkpoint_and_its_other_variables(checkpoint: Path, tmp_path: Path) -> None:
    with tf1.Graph().as_default() as graph, tf1.Session() as session:
        define_vggish_slim()
        mine = tf1.get_variable("mymodel/step", initializer=3.0)
        session.run(mine.initializer)
        load_vggish_slim_checkpoint(session, checkpoint)  # V1
        assert session.run(mine) == 3.0
        biases = session.run(biases_of(graph))
        path = tf1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=30)
    assert Path(path + ".index").exists()
    found = read_variables(path)
    assert list(found) == list(VARIABLE_SHAPES)
    np.testing.assert_array_equal(found["vggish/fc2/biases"], biases)
    with tf1.Graph().as_default() as graph, tf1.Session() as session:
        define_vggish_slim()
        load_vggish_slim_checkpoint(session, path)
        np.testing.assert_array_equal(session.run(biases_of(graph)), biases)


def test_everything_wrong_with_a_checkpoint_is_named_at_once(tmp_path: Path) -> None:
    small = {name: np.zeros(1, np.float32) for name in VARIABLE_SHAPES}
    small["vggish/conv1/biases"] = np.zeros(64, np.float32)
    small["vggish/conv2/biases"] = np.zeros(128, np.float64)
    del small["vggish/conv2/weights"]
    write_checkpoint(tmp_path / "small.ckpt", small)
    with pytest.raises(CheckpointError) as caught:
        Embedder(tmp_path / "small.ckpt")
    message = str(caught.value)
    assert "vggish/conv1/weights has shape [1], not [3, 3, 1, 64]" in message
    assert "vggish/conv2/weights [3, 3, 64, 128] is missing" in message
    assert "vggish/conv2/biases is float64, not float32" in message
    assert "and 13 more. " in message
    assert "conv1/biases" not in message
    with tf1.Graph().as_default(), tf1.Session() as session:
        define_vggish_slim()
        with pytest.raises(CheckpointError, match="conv2/weights"):
            load_vggish_slim_checkpoint(session, tmp_path / "small.ckpt")


def test_variables_are_checked_like_a_checkpoint() -> None:
    with pytest.raises(CheckpointError, match=r"variables does not hold VGGish: .*biases \[64\] is missing.* 14 more"):
        Embedder({})
    all_but_one = {name: np.broadcast_to(np.float32(0), shape) for name, shape in VARIABLE_SHAPES.items()}
    del all_but_one["vggish/fc2/biases"]
    with pytest.raises(CheckpointError, match=r"not hold VGGish: vggish/fc2/biases \[128\] is missing\. "):
        Embedder(all_but_one)


def test_files_that_are_no_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.ckpt does not exist, nor does none\.ckpt\.index"):
        read_variables(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_variables(tmp_path)
    for name, content in (("text.ckpt", b"no checkpoint"), ("empty.ckpt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name} cannot be read"):
            read_variables(tmp_path / name)
    with checkpoint.open("rb") as file:
        (tmp_path / "cut.ckpt").write_bytes(file.read(1 << 20))
    with pytest.raises(CheckpointError, match=r"cut\.ckpt cannot be read"):
        read_variables(tmp_path / "cut.ckpt")


def test_loading_into_a_graph_without_vggish(checkpoint: Path) -> None:
    with tf1.Graph().as_default(), tf1.Session() as session:
        with pytest.raises(ValueError, match=r"lacks vggish/conv1/weights, .* call define_vggish_slim"):
            load_vggish_slim_checkpoint(session, checkpoint)


# Embedding.


@pytest.mark.parametrize("kernel", [pytest.param("direct", marks=pytest.mark.full), "winograd"])
def test_a_row_depends_on_nothing_but_itself(embedders: dict[str, Embedder], kernel: str, examples: np.ndarray) -> None:
    embed = embedders[kernel].embed
    together = embed(examples)  # a full batch of 64 and one of 6
    assert together.shape == (70, 128)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(embed(examples[13:14]), together[13:14])
    np.testing.assert_array_equal(embed(examples[::-1]), together[::-1])
    np.testing.assert_array_equal(embed(examples[3:66]), together[3:66])


@pytest.mark.parametrize("kernel", [pytest.param("direct", marks=pytest.mark.full), "winograd"])
def test_threads_may_embed_at_once(embedders: dict[str, Embedder], kernel: str, examples: np.ndarray) -> None:
    embed = embedders[kernel].embed
    expected = embed(examples[:20])
    parts = [slice(start, start + 5) for start in (0, 5, 10, 15)] * 2
    with ThreadPoolExecutor(4) as executor:
        for part, found in zip(parts, executor.map(lambda part: embed(examples[part]), parts), strict=True):
            np.testing.assert_array_equal(found, expected[part])


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_examples_give_no_embeddings(embedders: dict[str, Embedder], kernel: str) -> None:
    found = embedders[kernel].embed(np.zeros((0, 96, 64), np.float32))
    assert found.shape == (0, 128)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((1, 96, 64)), "float64"),
        (np.zeros((96, 64), np.float32), r"\[96, 64\], not \[k, 96, 64\]"),
        (np.zeros((1, 64, 96), np.float32), r"\[1, 64, 96\]"),
        ([1.0], "list"),
    ],
)
def test_refuses_what_are_no_examples(embedders: dict[str, Embedder], wrong: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedders["direct"].embed(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"precision": "float16"}, 'precision is "float16"'),
        ({"convolutions": "fft"}, 'convolutions is "fft"'),
        ({"precision": "bfloat16", "convolutions": "winograd"}, "no winograd kernel"),
    ],
)
def test_refuses_settings(checkpoint: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedder(checkpoint, **arguments)


@pytest.mark.full
def test_threads_change_no_bits_and_nothing_is_said(
    embedders: dict[str, Embedder], checkpoint: Path, examples: np.ndarray, tmp_path: Path
) -> None:
    """In a process of its own: TensorFlow's threads are set once a process. Its sums may depend on them."""
    np.save(tmp_path / "examples.npy", examples[:10])
    code = f"""
import numpy as np
from vggish_core.network.model import Embedder
examples = np.load(r"{tmp_path / "examples.npy"}")
for kernel in {KERNELS}:
    embedder = Embedder(r"{checkpoint}", convolutions=kernel, threads=1)
    np.save(rf"{tmp_path}/{{kernel}}.npy", embedder.embed(examples))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = {kernel: np.load(tmp_path / f"{kernel}.npy") for kernel in KERNELS}
    np.testing.assert_array_equal(found["winograd"], embedders["winograd"].embed(examples[:10]))
    assert relative_rms(found["direct"], embedders["direct"].embed(examples[:10])) < 2e-6


def relative_rms(values: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((values - expected) ** 2) / np.mean(expected**2)))


# bfloat16.


def test_bfloat16_is_for_gpus_only(checkpoint: Path) -> None:
    if gpu():
        assert Embedder(checkpoint, precision="bfloat16").convolutions == "direct"
        return
    with pytest.raises(NoGpuError) as error:
        Embedder(checkpoint, precision="bfloat16")
    assert (error.value.found, error.value.remedy) == (
        "TensorFlow sees no GPU here",
        "Use float32: on processors bfloat16 is no faster",
    )


@pytest.mark.ci
def test_layers_in_bfloat16(checkpoint: Path, embedders: dict[str, Embedder], examples: np.ndarray) -> None:
    """The graph that GPUs get, which processors can run as well."""
    network = SlimNetwork(embedders["direct"].variables, 8, "bfloat16")
    values = network(examples[:8])
    network.close()
    assert values.dtype == np.float32
    exact = embedders["direct"].embed(examples[:8])
    assert 1e-3 < relative_rms(values, exact) < 0.03  # not float32's rounding


# Kernels and numbers.


@pytest.mark.ci
def test_kernel_check(embedders: dict[str, Embedder], variables: dict[str, np.ndarray], examples: np.ndarray) -> None:
    assert check_kernel(embedders["direct"]) == 0.0
    assert 0 < check_kernel(embedders["winograd"], examples[:8]) <= 5e-6
    other = Embedder(variables, batch_size=8, convolutions="winograd")
    other.variables = {**variables, "vggish/fc2/biases": variables["vggish/fc2/biases"] + np.float32(1e-3)}
    with pytest.raises(KernelError, match=r"0\.00\d+ \(relative RMS\).*--convolutions direct"):
        check_kernel(other, examples[:8])


@pytest.mark.parametrize(
    "corpus", [pytest.param("made_clips", marks=pytest.mark.ci), pytest.param("esc10", marks=pytest.mark.full)]
)
def test_bytes_and_distance_on_clips(corpus: str, request: pytest.FixtureRequest, standin_weights: Path) -> None:
    clips = sorted(request.getfixturevalue(corpus).glob("*/*.ogg"))
    checkpoint, pca_params = standin_weights / "vggish_model.ckpt", standin_weights / "vggish_pca_params.npz"
    bytes_and_distance(clips[:: len(clips) // 13][:22], checkpoint, pca_params)


def bytes_and_distance(clips: list[Path], checkpoint: Path, pca_params: Path) -> None:
    """Against float64 features, the plain float32 graph and the PCA formula; and both against a float64 network."""
    variables = read_variables(checkpoint)
    reference = np.concatenate([reference_front_end.file_to_examples(clip) for clip in clips]).astype(np.float32)[:64]
    ours = np.concatenate([wavfile_to_examples(str(clip)) for clip in clips])[:64]
    with BareSession(checkpoint) as bare:
        raw = bare(reference)
    exact = float64_embeddings(variables, reference[::8])
    postprocessor = Postprocessor(pca_params)
    arrays = np.load(pca_params)
    whitened = (raw.astype(np.float64) - arrays["pca_means"]) @ arrays["pca_eigen_vectors"].T
    expected = ((np.clip(whitened, -2, 2) + 2) * 63.75).astype(np.uint8)
    assert expected.std() > 40  # bytes that say something

    for kernel in KERNELS:
        embedder = Embedder(checkpoint, convolutions=kernel)
        found = postprocessor.postprocess(embedder.embed(ours))
        off = np.abs(found.astype(int) - expected)
        assert off.max() <= 1, kernel
        assert np.mean(off == 0) >= 0.999, kernel
        assert relative_rms(embedder.embed(reference)[::8], exact) <= (OURS if kernel == "winograd" else ANY)
    assert relative_rms(raw[::8], exact) <= ANY


@pytest.mark.ci
def test_a_prepared_checkpoint_needs_no_tensorflow(standin_weights: Path) -> None:
    """Same rows; its variables are there all the same, once somebody asks."""
    checkpoint = standin_weights / "vggish_model.ckpt"
    examples = synthetic_examples(3, seed=2)
    program = (
        "import sys, numpy as np\n"
        "from vggish_core import Embedder\n"
        "from vggish_core.features.synthetic import synthetic_examples\n"
        "embedder = Embedder(sys.argv[1])\n"
        "np.save(sys.argv[2], embedder.embed(synthetic_examples(3, seed=2)))\n"
        "print('tensorflow' in sys.modules, embedder.variables['vggish/fc2/biases'].shape)\n"
    )
    prepared.factors(checkpoint, digests(checkpoint).sha256)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        done = subprocess.run([sys.executable, "-c", program, checkpoint, file.name], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "False (128,)\n"), done.stderr
        found = np.load(file.name)
    np.testing.assert_array_equal(found, Embedder(read_variables(checkpoint)).embed(examples))
