"""What lies among the recordings and is no input: the output itself, other data sets."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import storage
from pipeline.corpus.sources import SourceError, find_corpus
from pipeline.types import Corpus
from tests.command import failures, manifest
from tests.in_process import Embed
from tests.memory_store import MemoryStore


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A folder of three recordings."""
    folder = tmp_path / "audio"
    (folder / "d").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "d/c")):
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(number).normal(0, 0.1, 32000), 16000)
    return folder


@pytest.fixture
def bucket() -> Iterator[str]:
    MemoryStore.reset()
    yield "memory://bucket/audio"
    MemoryStore.reset()


def ids(corpus: Corpus) -> list[str]:
    return [clip.id for clip in corpus.clips]


def counts(output: Path) -> tuple[int, ...]:
    """Clips in, written, failed and skipped; they add up."""
    totals = manifest(output)["totals"]
    found = tuple(totals[name] for name in ("clips_in", "written", "failed", "skipped"))
    assert found[0] == sum(found[1:])
    return found


@pytest.mark.parametrize("pattern", ["", "/**", "/**/*", "/*/*"])
def test_an_output_among_its_input_is_not_read(embed_here: Embed, audio: Path, pattern: str) -> None:
    output = audio / "emb"
    done = embed_here(output, "--input", f"{audio}{pattern}", "--report", "on")
    assert (done.status, done.err) == (0, "")
    clips = 1 if pattern == "/*/*" else 3
    assert counts(output) == (clips, clips, 0, 0)
    again = embed_here(output, "--input", f"{audio}{pattern}")
    assert again.status == 0
    (line,) = again.err.splitlines()
    assert line.startswith("Left out of the input: ")
    assert line.endswith(f" files of data set {output}.")
    assert f"{clips} clips were there already" in again.out
    assert counts(output) == (clips, clips, 0, 0)


def test_an_output_that_is_its_input(embed_here: Embed, audio: Path) -> None:
    """Its recordings are read still."""
    assert embed_here(audio, "--input", audio, "--overwrite").status == 0
    again = embed_here(audio, "--input", audio)
    assert (again.status, counts(audio)) == (0, (3, 3, 0, 0))
    assert "files of data set" in again.err


def test_other_data_sets_are_not_read_and_recordings_beside_their_names_are(
    embed_here: Embed, audio: Path, tmp_path: Path
) -> None:
    embed_here(tmp_path / "made", "--input", audio)
    for name in ("old", "older"):
        shutil.copytree(tmp_path / "made", audio / name)
    shutil.copy(audio / "a.wav", audio / "old" / "mine.wav")
    found = find_corpus([str(audio)])
    assert ids(found) == ["a", "b", "d/c", "old/mine"]
    assert found.notes[0].endswith(f"files of data sets {audio}/old, {audio}/older.")
    (audio / "older" / "manifest.json").unlink()  # nobody's data set, unless it is the output that is being made
    assert any(id.startswith("older/_state/") for id in ids(find_corpus([str(audio)])))
    assert ids(find_corpus([str(audio)], output=f"{audio}/older/")) == ids(found)


def test_a_file_by_its_own_name_is_meant(audio: Path, embed_here: Embed) -> None:
    embed_here(audio / "emb", "--input", audio)
    assert ids(find_corpus([f"{audio}/emb/manifest.json"])) == ["manifest"]
    with pytest.raises(SourceError, match=r"nothing matches .*/emb but files of data sets"):
        find_corpus([f"{audio}/emb"])


@pytest.mark.parametrize("pattern", ["", "/**/*.json*"])
def test_an_output_in_a_store(bucket: str, pattern: str) -> None:
    for name in ("a.json", "d/manifest.json", "e/_state/x.jsonl"):
        storage.write_atomic(f"{bucket}/{name}", b"other people's")
    for name in ("manifest.json", "_state/ledger-00000-of-00001.jsonl", "failures.jsonl", "sound.json"):
        storage.write_atomic(f"{bucket}/emb/{name}", b"ours")
    found = find_corpus([f"{bucket}{pattern}"])
    assert ids(found) == ["a", "d/manifest", "e/_state/x", "emb/sound"]
    assert found.notes == ("Left out of the input: 3 files of data set memory://bucket/audio/emb.",)
    assert ids(find_corpus([f"{bucket}{pattern}"], output=f"{bucket}/e")) == ["a", "d/manifest", "emb/sound"]


def test_what_earlier_versions_took_for_recordings_can_be_dropped(
    embed_here: Embed, audio: Path, tmp_path: Path
) -> None:
    """The output's own files, which failed then."""
    output = audio / "emb"
    embed_here(output, "--input", f"{audio}/*.wav")
    (tmp_path / "list.csv").write_text("uri,id\naudio/a.wav,a\naudio/b.wav,b\naudio/emb/failures.jsonl,emb/failures\n")
    assert embed_here(output, "--manifest", tmp_path / "list.csv").status == 1
    assert list(failures(output)) == ["emb/failures"]
    assert embed_here(output, "--input", f"{audio}/**/*.*", "--prune").status == 0
    assert counts(output) == (3, 3, 0, 0)
