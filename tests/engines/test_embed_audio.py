"""`EmbedAudio` and `WriteEmbeddings` with workers of real engines: the data set that the command makes."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import EmbedAudio, WriteEmbeddings, run
from pipeline.corpus.ids import id_of
from pipeline.output import manifest as manifests
from tests import command
from tests.command import STANDIN
from tests.engines.conftest import Running, make_clip, make_recording

pytestmark = pytest.mark.usefixtures("standin_weights")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten clips, one that is too short, and one that is no audio."""
    folder = tmp_path_factory.mktemp("audio")
    for number in range(10):
        make_clip(folder, number)
    make_recording(folder / "none.wav", 0)
    (folder / "words.wav").write_bytes(b"words " * 100)
    return folder


@pytest.fixture(scope="module")
def by_command(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command's output for them."""
    output = tmp_path_factory.mktemp("command") / "out"
    flags = ["--input", str(audio), "--output", str(output), "--num_shards", "3", "--max_failures", "9"]
    assert run.main([*flags, *STANDIN, "--progress", "off", "--report", "off"]) == 0
    return output


@pytest.mark.parametrize("engine", ["prism-external", "jobs-external"], indirect=True)
def test_embedded_and_written_is_what_the_command_writes(
    engine: Running, audio: Path, by_command: Path, tmp_path: Path
) -> None:
    embed = EmbedAudio("standin", "standin")
    clips = [(id_of(path.name), str(path)) for path in sorted(audio.iterdir())]
    with beam.Pipeline(options=PipelineOptions(engine.flags)) as root:
        found = root | beam.Create(clips) | embed
        found | WriteEmbeddings(str(tmp_path / "out"), embed, num_shards=3)
    assert command.shard_bytes(tmp_path / "out") == command.shard_bytes(by_command)
    assert command.failures(tmp_path / "out") == command.failures(by_command)
    ours, theirs = (manifests.read(str(path)) for path in (tmp_path / "out", by_command))
    assert ours is not None
    assert theirs is not None
    assert ours.complete
    assert (ours.fingerprint, ours.totals) == (theirs.fingerprint, theirs.totals)
    assert ours.totals["clips_in"] == len(clips)
    assert engine.observed().rows == ours.totals["examples"]  # by the engine's workers, not here
