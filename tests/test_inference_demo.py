from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from vggish_core import command, inference_demo, params
from vggish_core.features.examples import waveform_to_examples
from vggish_core.network.model import Embedder
from vggish_core.network.postprocess import Postprocessor

STANDIN = ["--checkpoint", "standin", "--pca_params", "standin"]


def test_record_of_a_file(standin_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tensorflow as tf

    noise = np.random.RandomState(0).uniform(-0.5, 0.5, 2 * 22050)
    wav_file, tfrecord_file = tmp_path / "noise.wav", tmp_path / "noise.tfrecord"
    soundfile.write(wav_file, noise, 22050, subtype="FLOAT")
    arguments = ["--wav_file", str(wav_file), "--tfrecord_file", str(tfrecord_file)]
    assert inference_demo.main([*arguments, *STANDIN]) == 0
    assert "standin (random weights, no meaning)" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noise.tfrecord", "noise.wav"]

    (record,) = tf.data.TFRecordDataset(str(tfrecord_file)).as_numpy_iterator()
    example = tf.train.SequenceExample.FromString(record)
    assert not example.context.feature
    assert list(example.feature_lists.feature_list) == [params.AUDIO_EMBEDDING_FEATURE_NAME]
    features = example.feature_lists.feature_list[params.AUDIO_EMBEDDING_FEATURE_NAME].feature
    found = np.array([np.frombuffer(feature.bytes_list.value[0], np.uint8) for feature in features])

    examples = waveform_to_examples(noise.astype(np.float32), 22050)
    assert len(examples) == 2
    raw = Embedder(standin_weights / "vggish_model.ckpt").embed(examples)
    np.testing.assert_array_equal(found, Postprocessor(standin_weights / "vggish_pca_params.npz").postprocess(raw))


def test_without_a_file_it_embeds_a_tone(standin_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inference_demo.main(STANDIN) == 0
    said = capsys.readouterr().out
    assert said.count("bytes_list") == 5


def test_files_it_cannot_use_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inference_demo.main(["--wav_file", str(tmp_path / "none.wav"), *STANDIN]) == command.UNUSABLE
    assert "none.wav" in capsys.readouterr().err
    soundfile.write(tmp_path / "short.wav", np.zeros(15359), 16000)
    assert inference_demo.main(["--wav_file", str(tmp_path / "short.wav"), *STANDIN]) == command.UNUSABLE
    assert "less than one example (0.975 s)" in capsys.readouterr().err
