"""The released weights give the published figures here; released records are what this software takes them for.

Heavy modules are imported by the tests that need them, so that a machine without a network fails at once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.command import run
from tests.reference_data import part
from vggish_core import smoke_test
from vggish_core.features.examples import waveform_to_examples
from vggish_core.features.synthetic import sine
from vggish_core.network.postprocess import Postprocessor

LEVELS = (9, 34, 85, 116, 141, 182, 200)
"""None of the published 128 bytes is within 2 of any of these; the signal's start, which differs with the rate that it
was made at, moves bytes by 1 or 2."""
SHA256_OF_LEVELS = "67658de1695d1a8f87b7a6c77d0469a8e8cad3dd732b476fa5b90fe15bc2cce9"
"""Of the published bytes, each as the number of `LEVELS` that it reaches."""
SHA256 = "f43af89af41c100f5f22d8cfbbf7752928fbb6ce2d5085443bef938accc46ec7"
"""Of the published bytes themselves, from the log of a smoke test."""
pytestmark = pytest.mark.timeout(1800)  # a fetch of 290 MB is in it


def test_the_smoke_test_finds_the_published_figures(
    checkpoint: Path, pca_params: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke_test.main([]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "checkpoint: released" in said
    assert "NOT CHECKED" not in said
    assert said.endswith("\nLooks Good To Me!\n\n")


def test_the_signal_gives_the_published_bytes(checkpoint: Path, pca_params: Path) -> None:
    """The raw embedding of the smoke test's signal -> 128 bytes: to the last one at one of the rates that the signal is
    made at, as the log does not tell which, or two apart at most."""
    from vggish_core.network.model import Embedder

    embedder, postprocessor = Embedder(checkpoint), Postprocessor(pca_params)
    examples = [waveform_to_examples(sine(3, rate), rate)[0] for rate in (44100, 16000)]
    found = postprocessor.postprocess(embedder.embed(np.stack(examples)))
    exact = [hashlib.sha256(row.tobytes()).hexdigest() == SHA256 for row in found]
    print(f"all 128 bytes as published: {exact[0]} at 44.1 kHz, {exact[1]} at 16 kHz")
    for row in found:
        reached = np.searchsorted(LEVELS, row, side="right").astype(np.uint8)
        assert hashlib.sha256(reached.tobytes()).hexdigest() == SHA256_OF_LEVELS, row.tolist()


def test_the_published_vector_gives_the_published_bytes(pca_params: Path) -> None:
    raw = np.load(part("smoke_test") / "raw_embedding.npy")
    found = Postprocessor(pca_params).postprocess(raw.astype(np.float32)[None])
    assert hashlib.sha256(found.tobytes()).hexdigest() == SHA256


def test_bytes_and_distance_with_the_released_weights(checkpoint: Path, pca_params: Path, made_clips: Path) -> None:
    from tests.test_model import bytes_and_distance

    bytes_and_distance(sorted(made_clips.glob("*/*.ogg"))[::2], checkpoint, pca_params)


def test_released_records_are_read_and_written_alike(records: str) -> None:
    from pipeline.checking import verify
    from pipeline.cli import verify as verify_command
    from tests.test_records import come_out_of_the_writer_with_equal_content

    found = verify.verify_files([records])
    assert verify_command.fault_lines(found) == []
    for file in found.files:
        assert come_out_of_the_writer_with_equal_content(Path(file.uri)) == file.records


def test_clips_are_nearest_to_their_own_released_records(
    checkpoint: Path, pca_params: Path, records: str, audio: Path, tmp_path: Path
) -> None:
    """Decoders and encodings of the audio differ from the makers': a clip is known by its record among all others."""
    from pipeline.output.records import read_records

    listed = {record.id: record for record in read_records(records)}
    paths = [path for path in sorted(audio.iterdir()) if path.stem[:11] in listed]
    assert len(paths) > 1, f"no two files of {audio} are named by ids of {records}"
    done = run(
        "pipeline.run",
        "--input",
        audio,
        "--output",
        tmp_path / "out",
        "--checkpoint",
        checkpoint,
        "--pca_params",
        pca_params,
    )
    assert done.status in (0, 1), done.err
    ours = {record.id[:11]: record for record in read_records(str(tmp_path / "out" / "embeddings-*"))}
    clips = sorted(ours.keys() & listed.keys())
    means = np.stack([Postprocessor.dequantize(listed[clip].values).mean(axis=0) for clip in listed])
    names = np.array(list(listed))
    right = 0
    for clip in clips:
        start = round(float(listed[clip].start_s or 0) / 0.96) if len(ours[clip].values) > 12 else 0  # not cut out
        mine = Postprocessor.dequantize(ours[clip].values[start : start + 10]).mean(axis=0)
        right += names[np.linalg.norm(means - mine, axis=1).argmin()] == clip
    print(f"{right} of {len(clips)} clips are nearest to their own record of {len(names)}")
    assert right > 0.8 * len(clips)
