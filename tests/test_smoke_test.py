from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vggish_core import command, smoke_test
from vggish_core.network.postprocess import write_pca_params

STANDIN = ["--checkpoint", "standin", "--pca_params", "standin"]


def test_standin_weights_look_good_and_are_called_what_they_are(
    standin_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke_test.main(STANDIN) == 0
    said = capsys.readouterr().out
    assert "checkpoint: standin (random weights, no meaning)" in said
    assert said.count("NOT CHECKED against the published") == 2
    assert "Resampling from 44100, 8000" in said
    assert said.endswith("\nLooks Good To Me!\n\n")


def test_published_numbers_are_checked() -> None:
    """Embeddings with the published mean and deviation pass; the same, 15 % larger, do not."""
    mean, std = smoke_test.EMBEDDING_MEAN_STD
    values = mean + std * np.array([-1.0, 1.0])
    smoke_test._test_numbers("raw", values, (mean, std), released=True)
    with pytest.raises(command.FailedError, match=r"standard deviation is 0\.39445, not 0\.343 within 10%"):
        smoke_test._test_numbers("raw", mean + (values - mean) * 1.15, (mean, std), released=True)
    with pytest.raises(command.FailedError, match="mean is"):
        smoke_test._test_numbers("raw", values + 0.001, (mean, std), released=True)


def test_unusable_weights_are_one_line(
    standin_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pca_params(tmp_path / "pca.npz", np.eye(64), np.zeros(64))
    arguments = ["--checkpoint", "standin", "--pca_params", str(tmp_path / "pca.npz")]
    assert smoke_test.main(arguments) == command.UNUSABLE
    assert "error: PCA parameters" in capsys.readouterr().err
    assert smoke_test.main(["--checkpoint", str(tmp_path / "none")]) == command.UNUSABLE
    assert 'Name an existing file, "released" or "standin"' in capsys.readouterr().err


@pytest.mark.parametrize("name", ["smoke_test", "inference_demo", "train_demo"])
def test_help_needs_no_tensorflow(name: str) -> None:
    code = f"""
import sys
from vggish_core import {name}
try:
    {name}.main(["--help"])
finally:
    assert not {{"tensorflow", "tf_slim", "numba"}} & set(sys.modules), "heavy imports"
"""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--checkpoint" in done.stdout
