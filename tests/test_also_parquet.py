"""`--also parquet`: a Parquet file a shard beside the records, and the card; made again only where shards changed."""

from __future__ import annotations

import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline import read_records, reshard
from pipeline.checking import verify
from pipeline.output import manifest as manifests
from pipeline.output import resume
from pipeline.output.layout import OutputError
from pipeline.output.publishing import card, parquet_files
from pipeline.types import RecordFormat
from tests import outputs
from tests.faults import at_each_operation
from tests.in_process import Embed

CLIPS = [outputs.clip(number) for number in range(40)]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    for number in range(6):
        add(folder, number)
    return folder


def add(folder: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    soundfile.write(folder / f"{number:03d}.wav", rng.normal(0, 0.1, (1 + number % 3) * 16000), 16000)


def made(output: Path) -> dict[str, tuple[int, bytes]]:
    files = [*(output / "data").iterdir(), output / "README.md"]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def rows(output: Path) -> dict[str, tuple[float | None, list[int], list[list[float]]]]:
    """What the Parquet files hold, as a reader without our code sees it."""
    table = pyarrow.dataset.dataset(output / "data", format="parquet").to_table()
    return {row["id"]: (row["start"], row["labels"], row["embeddings"]) for row in table.to_pylist()}


def expect_the_records(output: Path) -> None:
    records = {r.id: (r.start_s, list(r.labels), r.values.tolist()) for r in read_records(f"{output}/*.tfrecord")}
    assert rows(output) == records
    assert parquet_files.outdated(str(output), expect_manifest(output)) == []


def expect_manifest(output: Path) -> manifests.Manifest:
    found = manifests.read(str(output))
    assert found is not None
    return found


def test_the_command_keeps_them_up_to_date(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    flags = ["--input", str(audio), "--num_shards", "3", "--also", "parquet"]
    done = embed_here(output, *flags)
    assert done.status == 0
    shards = [entry for entry in expect_manifest(output).shards if entry.records]
    assert f"parquet    {output}/data/*.parquet: {len(shards)} written, 0 as they were" in done.out
    expect_the_records(output)
    before = made(output)
    assert "0 written" in embed_here(output, *flags).out
    assert made(output) == before
    add(audio, 6)
    old = {entry.name: entry.sha256 for entry in expect_manifest(output).shards}
    done = embed_here(output, *flags)
    expect_the_records(output)
    changed = {entry.name for entry in expect_manifest(output).shards if entry.sha256 != old[entry.name]}
    after = made(output)
    assert {name for name in after if after[name] != before.get(name)} == {
        "README.md",
        *(name.replace("tfrecord", "parquet") for name in changed),
    }
    assert "7 written, 0 failed, 0 skipped of 7" in (output / "README.md").read_text()


def test_without_the_flag_what_is_old_is_named(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output, flags = tmp_path / "out", ["--input", str(audio), "--num_shards", "1"]
    assert embed_here(output, *flags, "--also", "parquet").err == ""
    assert embed_here(output, *flags).err == ""
    add(audio, 6)
    done = embed_here(output, *flags)
    assert done.status == 0
    assert f"note: {output}/data is older than the records (1 file, embeddings-00000-of-00001.parquet" in done.err
    report = verify.verify_output(str(output))
    assert report.fault_count == 0
    assert report.notes == [
        "note: data/embeddings-00000-of-00001.parquet: missing, or not of the shard as it is; "
        "pipeline.run --also parquet writes it"
    ]


def test_they_are_no_input(embed_here: Embed, audio: Path) -> None:
    flags = ["--input", str(audio), "--num_shards", "1", "--also", "parquet"]
    assert embed_here(audio / "out", *flags).status == 0
    done = embed_here(audio / "out", *flags)
    assert "6 clips: 6 written, 0 failed, 0 skipped" in done.out
    assert "0 written, 1 as they were" in done.out


def test_an_overwrite_or_other_shards_remove_them(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output, flags = tmp_path / "out", ["--input", str(audio), "--num_shards", "3"]
    embed_here(output, *flags, "--also", "parquet")
    assert reshard.main([str(output), "--num_shards", "2"]) == 0
    assert list((output / "data").iterdir()) == []
    flags[-1] = "2"
    embed_here(output, *flags, "--also", "parquet")
    expect_the_records(output)
    assert embed_here(output, *flags, "--overwrite").err == ""
    assert list((output / "data").iterdir()) == []
    assert not (output / "README.md").exists()


def test_what_the_user_writes_into_the_card_stays(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output, flags = tmp_path / "out", ["--input", str(audio), "--num_shards", "1", "--also", "parquet"]
    embed_here(output, *flags)
    text = (output / "README.md").read_text()
    mine = re.sub("# license: .*", "license: cc-by-4.0", text) + "\nRecorded in März.\n"
    (output / "README.md").write_text(mine)
    add(audio, 6)
    embed_here(output, *flags)
    now = (output / "README.md").read_text()
    assert now == mine.replace("6 written, 0 failed, 0 skipped of 6", "7 written, 0 failed, 0 skipped of 7").replace(
        *(re.search("embeddings . (.*)", each)[1] for each in (mine, now))  # type: ignore[index]
    )
    embed_here(output, *flags, "--overwrite")
    assert "license: cc-by-4.0" in (output / "README.md").read_text()
    (output / "README.md").write_text("# Mine\n")
    done = embed_here(output, *flags)
    assert f"note: {output}/README.md is your own, and was left as it is" in done.err
    assert (output / "README.md").read_text() == "# Mine\n"


def test_what_cannot_be_written_ends_with_a_status(embed_here: Embed, audio: Path, tmp_path: Path) -> None:
    output, flags = tmp_path / "out", ["--input", str(audio), "--num_shards", "1"]
    embed_here(output, *flags)
    (output / "data").write_text("a file")
    done = embed_here(output, *flags, "--also", "parquet")
    assert done.status == 1
    assert "writing Parquet files failed" in done.err
    assert "6 clips: 6 written" in done.out


@pytest.mark.parametrize("layout", ["audioset", "youtube8m", "youtube8m_video"])
@pytest.mark.parametrize("kind", ["quantized", "raw"])
def test_every_kind_of_records(tmp_path: Path, layout: RecordFormat, kind: str) -> None:
    outputs.write(outputs.job(tmp_path / "out", 3, layout, kind), CLIPS)  # type: ignore[arg-type]
    parquet_files.write(str(tmp_path / "out"))
    expect_the_records(tmp_path / "out")
    file = next((tmp_path / "out" / "data").iterdir())
    element = "uint8" if kind == "quantized" and layout != "youtube8m_video" else "float"
    assert f"fixed_size_list<element: {element}>[128]" in str(pq.read_schema(file).field("embeddings").type)


def test_a_shard_without_a_record_has_no_file(tmp_path: Path) -> None:
    outputs.write(outputs.job(tmp_path / "out", 5), CLIPS[:2])
    done = parquet_files.write(str(tmp_path / "out"))
    assert done.made == len(list((tmp_path / "out" / "data").iterdir())) < 5
    outputs.write(outputs.job(tmp_path / "out", 5), (), drops=CLIPS[:1])
    assert parquet_files.write(str(tmp_path / "out")).removed == 1
    expect_the_records(tmp_path / "out")


def test_a_shard_that_was_changed_is_refused(tmp_path: Path) -> None:
    outputs.write(outputs.job(tmp_path / "out", 1), CLIPS)
    shard = next((tmp_path / "out").glob("*.tfrecord"))
    other = outputs.job(tmp_path / "other", 1)
    outputs.write(other, [outputs.clip(number, "2") for number in range(40)])
    shard.write_bytes(next((tmp_path / "other").glob("*.tfrecord")).read_bytes())
    with pytest.raises(Exception, match="was changed"):
        parquet_files.write(str(tmp_path / "out"))
    assert list((tmp_path / "out" / "data").iterdir()) == []
    with pytest.raises(OutputError, match=r"no manifest\.json of a finished data set"):
        parquet_files.write(str(tmp_path / "nothing"))


def test_killed_at_any_moment_the_next_call_makes_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    outputs.write(outputs.job(old, 3), CLIPS[:20])
    parquet_files.write(str(old))
    outputs.write(outputs.job(old, 3), CLIPS[20:])

    def action(directory: Path) -> None:
        parquet_files.write(str(directory))

    killed = 0
    for directory, _ in at_each_operation(monkeypatch, tmp_path, functools.partial(shutil.copytree, old), action):
        killed += 1
        for file in (directory / "data").glob("*.parquet"):
            pq.read_table(file)  # whole, old or new
        resume.start(str(directory), outputs.job(directory, 3))  # as a run does first
        action(directory)
        expect_the_records(directory)
        assert list(directory.rglob("*.tmp")) == []
    assert killed >= 4


def test_the_header_is_yaml_that_names_the_files(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    manifest = outputs.write(outputs.job(tmp_path, 3), CLIPS)
    text = card.made(manifest, 'my "data": set')
    assert text is not None
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["pretty_name"] == 'my "data": set'
    assert header["size_categories"] == ["n<1K"]
    assert header["configs"] == [{"config_name": "default", "data_files": "data/*.parquet"}]
    assert "license" not in header
    assert json.dumps(manifest.settings["hop_seconds"]) in text
    assert card.is_untouched(text)
    assert not card.is_untouched(text + "mine")
