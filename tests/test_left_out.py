"""What lies among the recordings and is no input: the output itself, other data sets, texts, what is excluded."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from pipeline import read_records, storage
from pipeline.cli import verify
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
    assert re.search(rf"; {clips} clips? w\w+ there already", again.out)
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
    assert ids(find_corpus([f"{audio}/emb/manifest.json"])) == ["manifest.json"]
    with pytest.raises(SourceError, match=r"nothing matches .*/emb but files of data sets"):
        find_corpus([f"{audio}/emb"])


@pytest.mark.parametrize("pattern", ["", "/**/*.json*"])
def test_an_output_in_a_store(bucket: str, pattern: str) -> None:
    for name in ("a.json", "d/manifest.json", "e/_state/x.jsonl"):
        storage.write_atomic(f"{bucket}/{name}", b"other people's")
    for name in ("manifest.json", "_state/ledger-00000-of-00001.jsonl", "failures.jsonl", "sound.json"):
        storage.write_atomic(f"{bucket}/emb/{name}", b"ours")
    found = find_corpus([f"{bucket}{pattern}"])
    assert ids(found) == ["a.json", "d/manifest.json", "e/_state/x.jsonl", "emb/sound.json"]
    assert found.notes == ("Left out of the input: 3 files of data set memory://bucket/audio/emb.",)
    assert ids(find_corpus([f"{bucket}{pattern}"], output=f"{bucket}/e")) == [
        "a.json",
        "d/manifest.json",
        "emb/sound.json",
    ]


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


BESIDE = (
    *("CONFIG.TXT", "notes.csv", "a.json", "README.md", "doc.pdf", "x.xml", "Thumbs.db", "s.srt", "empty.log"),
    "m.csv.gz",
)
"""Files that lie beside recordings; one of them beside that of its name."""


def put_beside(folder: Path) -> None:
    for name in BESIDE:
        content = b"" if name == "empty.log" else b"1\n00:00:00,000 --> 00:00:02,000\nhello\n\n"
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("photo.jpg", "photo.png", "photo.gif", "photo.webp", "photo.TIF"):
        Image.fromarray(picture).save(folder / name)


def test_what_lies_beside_recordings_is_skipped(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    put_beside(audio)
    (audio / "b.wav").rename(audio / "sound.txt")  # which is audio nevertheless
    done = embed_here(output, "--input", audio, "--max_failures", "0", "--report", "on")
    assert (done.status, done.err) == (0, "")
    skipped = len(BESIDE) + 5
    assert counts(output) == (3 + skipped, 3, 0, skipped)
    assert manifest(output)["skips"] == {"not_audio": skipped}
    found = failures(output)
    assert set(found) == {*BESIDE, "photo.jpg", "photo.png", "photo.gif", "photo.webp", "photo.TIF"}
    assert all((line["reason"], line["skipped"]) == ("not_audio", True) for line in found.values())
    assert {record.id for record in read_records(f"{output}/*.tfrecord")} == {"a", "d/c", "sound.txt"}
    assert f"  skipped   {skipped:>6,}  not_audio" in done.out
    again = embed_here(output, "--input", f"{audio}/**", "--retry_failed")
    assert (again.status, counts(output)) == (0, (3 + skipped, 3, 0, skipped))
    assert "nothing to compute" in again.out
    assert verify.main([str(output)]) == 0


def test_what_says_nothing_of_its_content_or_is_named_fails(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for name in ("notes.txt", "words", "other.xyz", "more.wav", "dots.txt.", ".txt"):
        (audio / name).write_text("words, no sound")
    done = embed_here(output, "--input", audio, "--input", f"{audio}/.t*")
    assert (done.status, counts(output)) == (1, (9, 3, 4, 2)), done.err
    reasons = {id: (line["reason"], line["skipped"]) for id, line in failures(output).items()}
    assert {id for id, reason in reasons.items() if reason == ("not_audio", True)} == {"notes.txt", ".txt"}
    assert all(reason == "not_audio" for reason, _ in reasons.values())
    (tmp_path / "list.csv").write_text("uri,id\naudio/a.wav,a\naudio/notes.txt,notes.txt\n")
    done = embed_here(output, "--manifest", tmp_path / "list.csv", "--prune")
    assert (done.status, counts(output)) == (1, (2, 1, 1, 0))
    assert embed_here(tmp_path / "other", "--input", f"{audio}/notes.txt").status == 1
    assert counts(tmp_path / "other") == (1, 0, 1, 0)


def test_a_folder_without_any_audio_is_a_mistake(embed_here: Embed, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    put_beside(tmp_path / "texts")
    done = embed_here(tmp_path / "out", "--input", tmp_path / "texts")
    assert done.status == 1
    assert done.err.splitlines() == ["error: none of 15 files is audio", "  Name the folder of the audio."]


def test_a_list_that_a_shell_found_beside_recordings_ends_nothing(embed_here: Embed, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    (tmp_path / "labels.csv").write_text("uri,label\na.wav,x\n")
    both = ["--input", tmp_path / "a.wav", "--input", tmp_path / "labels.csv"]
    done = embed_here(tmp_path / "out", *both, "--max_failures", "1")
    assert (done.status, counts(tmp_path / "out")) == (0, (2, 1, 1, 0)), done.err


@pytest.mark.parametrize(
    ("globs", "left"),
    [
        (["*.txt"], ["a", "b", "d/c", "d/e/f"]),
        (["d"], ["a", "b", "notes.txt"]),
        (["d/*"], ["a", "b", "notes.txt"]),
        (["d/*.wav"], ["a", "b", "d/e/f", "d/x.txt", "notes.txt"]),
        (["**/?.wav"], ["d/x.txt", "notes.txt"]),
        (["./d/e/"], ["a", "b", "d/c", "d/x.txt", "notes.txt"]),
        (["[ab].wav", "e"], ["d/c", "d/x.txt", "notes.txt"]),
        (["TOP/d/**"], ["a", "b", "notes.txt"]),
        (["/elsewhere/d", "nothing", "**/d/d"], ["a", "b", "d/c", "d/e/f", "d/x.txt", "notes.txt"]),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_globs_leave_files_out(audio: Path, bucket: str, globs: list[str], left: list[str], stored: bool) -> None:
    top = bucket if stored else str(audio)
    for name in ("a.wav", "b.wav", "d/c.wav", "notes.txt", "d/e/f.wav", "d/x.txt"):
        storage.mkdirs(storage.parent(f"{top}/{name}"))
        storage.write_atomic(f"{top}/{name}", b"content")
    for pattern in (top, f"{top}/**"):
        found = find_corpus([pattern], exclude=[glob.replace("TOP", top) for glob in globs])
        assert ids(found) == left
        assert found.notes[0].startswith(f"Left out by --exclude: {6 - len(left)} file")


def test_the_command_says_how_many_are_excluded(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    put_beside(audio)
    globs = [text for glob in ("photo.*", "a*", "c.wav", "typo") for text in ("--exclude", glob)]
    done = embed_here(tmp_path / "out", "--input", audio, *globs)
    assert done.status == 0
    each = "5 by 'photo.*', 2 by 'a*', 1 by 'c.wav', 0 by 'typo'"
    assert done.err == f"Left out by --exclude: 8 files ({each}).\n"
    assert counts(tmp_path / "out") == (len(BESIDE), 1, 0, len(BESIDE) - 1)
    done = embed_here(tmp_path / "none", "--input", audio, "--exclude", "*")
    assert (done.status, done.err.splitlines()) == (
        2,
        ["error: --input: --exclude leaves out all files of --input", "  Check what the globs match."],
    )
