"""The same bytes on every processor that multiplies and adds in one step: what libraries choose by it takes no part."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from examples import make_audio
from tests.command import REPOSITORY
from tests.reference_data import FOLDER
from vggish_core.codegen.registers import AVX512, fuses, register_tile

PROGRAM = """
import hashlib, sys
import numpy as np
from vggish_core import Postprocessor, wavfile_to_examples

digest = hashlib.sha256()
for path in sys.argv[2:]:
    digest.update(wavfile_to_examples(path).tobytes())
raw = np.random.default_rng(0).standard_normal((301, 128)).astype(np.float32)
processed = Postprocessor(sys.argv[1])
digest.update(processed.pca(raw).tobytes())
digest.update(processed.postprocess(raw).tobytes())
print(digest.hexdigest())
"""
NETWORK = """
import hashlib, sys
from vggish_core.network.model import Embedder
from vggish_core import wavfile_to_examples

embedder = Embedder(sys.argv[1])
print(hashlib.sha256(embedder.embed(wavfile_to_examples(sys.argv[2])).tobytes()).hexdigest())
"""
WIDE = register_tile() == AVX512
"""Whether this processor can be asked for OpenBLAS' code for AVX-512."""
OTHERS = [{"OPENBLAS_CORETYPE": core} for core in ("Haswell", *["SkylakeX"][:WIDE], "Zen", "Sandybridge")]
OTHERS += [{"NUMBA_CPU_NAME": "x86-64-v3"}]


@pytest.fixture(scope="module")
def clips(example_audio: Path) -> list[Path]:
    made = [example_audio / example.name for example in make_audio.EXAMPLES]
    return [*made, *sorted((FOLDER / "audio" / "esc10").rglob("*.ogg"))[:40]]


def printed(program: str, arguments: list[Path], environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


fused = pytest.mark.skipif(
    platform.machine() != "x86_64" or not fuses(), reason="this processor has no AVX2: see docs/records.md"
)


@pytest.mark.ci
@fused
def test_features_and_records_have_the_same_bits(clips: list[Path], standin_weights: Path) -> None:
    assert len(clips) > 5
    arguments = [standin_weights / "vggish_pca_params.npz", *clips]
    here = printed(PROGRAM, arguments, {})
    assert [printed(PROGRAM, arguments, other) for other in OTHERS] == [here] * len(OTHERS)


@pytest.mark.full
@fused
def test_the_network_has_the_same_bits(clips: list[Path], standin_weights: Path, tmp_path: Path) -> None:
    """Its kernels are compiled again, for a minute."""
    arguments = [standin_weights / "vggish_model.ckpt", clips[0]]
    other = {"NUMBA_CPU_NAME": "x86-64-v3", "VGGISH_CACHE": str(tmp_path)}
    assert printed(NETWORK, arguments, other) == printed(NETWORK, arguments, {})
