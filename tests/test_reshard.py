"""Another number of shards: the bytes of a fresh run with that number, whatever happens on the way."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import read_records, reshard
from pipeline.checking import verify
from pipeline.cli import verify as verify_command
from pipeline.corpus import plan
from pipeline.output import commit, ledger, lock, manifest, resume
from pipeline.output.at_work import submitted
from pipeline.output.journal import spilled
from pipeline.output.layout import OutputError
from pipeline.output.matching import IncompleteError, matching_files
from pipeline.output.records import to_sequence_example, write_tfrecord
from pipeline.output.resharding import change, order
from pipeline.running import resolve
from pipeline.types import Clip, Corpus, Failure, RecordFormat
from tests import outputs
from tests.faults import Faults, Killed, at_each_operation, full, killed_processes, operations
from tests.in_process import Embed

CLIPS = [outputs.clip(number) for number in range(40)]
OLD, NEW = 2, 3


def make(directory: Path, num_shards: int, clips: list[Clip] = CLIPS) -> Path:
    outputs.write(outputs.job(directory, num_shards), clips)
    return directory


def state(directory: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files that are a function of inputs and settings, and the manifest without what is not."""
    return outputs.content(directory), {**json.loads((directory / "manifest.json").read_text()), "run": None}


def faults(directory: Path) -> list[str]:
    return verify_command.fault_lines(verify.verify_output(str(directory)))


def left_overs(directory: Path) -> list[Path]:
    return [*directory.rglob("*.tmp"), *directory.glob("_state/staged/*"), *directory.glob("_state/lock.json")]


def changed(directory: Path, num_shards: int | None = NEW) -> change.Resharded:
    """Without a lock, which in a test that kills would be that of a process that lives."""
    return change.reshard_locked(str(directory), num_shards, lambda: None)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By their number of shards, outputs that are not to be touched."""
    return {number: make(tmp_path_factory.mktemp(f"of{number}"), number) for number in (OLD, NEW, 1, 7, 60)}


@pytest.fixture
def output(expected: dict[int, Path], tmp_path: Path) -> Path:
    """A copy of that of OLD shards."""
    return Path(shutil.copytree(expected[OLD], tmp_path / "out"))


@pytest.mark.parametrize(("before", "after"), [(1, 7), (7, 1), (2, 3), (3, 60), (60, 2)])
def test_the_bytes_are_those_of_a_fresh_run(tmp_path: Path, expected: dict[int, Path], before: int, after: int) -> None:
    out = Path(shutil.copytree(expected[before], tmp_path / "out"))
    (out / "_state" / "run-20260102T030405Z-0a1b2c3d.json").write_text("{}")
    (out / "report.html").write_text("a report")
    run = json.loads((out / "manifest.json").read_text())["run"]
    done = change.reshard(str(out), after)
    assert (done.before, done.manifest.num_shards) == (before, after)
    assert state(out) == state(expected[after])
    assert faults(out) == []
    assert left_overs(out) == []
    assert (out / "report.html").read_text() == "a report"
    assert (out / "_state" / "run-20260102T030405Z-0a1b2c3d.json").exists()
    assert {**json.loads((out / "manifest.json").read_text())["run"], "updated": ""} == {**run, "updated": ""}
    opened = resume.start(str(out), outputs.job(out, after))
    assert (opened.lost, opened.finished) == ((), 0)


def test_the_number_that_it_has_changes_nothing(output: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    assert changed(output, OLD).before == OLD
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("layout", ["youtube8m", "youtube8m_video"])
def test_floats_in_youtube8ms_layouts(tmp_path: Path, layout: RecordFormat) -> None:
    for name, number in (("out", 4), ("fresh", 5)):
        job = outputs.job(tmp_path / name, number, layout, "raw")
        outputs.write(job, CLIPS)
    changed(tmp_path / "out", 5)
    assert state(tmp_path / "out") == state(tmp_path / "fresh")


ids = st.text(st.characters(codec="utf-8"), max_size=3) | st.sampled_from(["\udcff", "a\udce9"])
items = st.lists(
    st.tuples(ids, st.integers(0, 3), st.binary(max_size=30)), unique_by=lambda item: item[:2], max_size=60
)


@given(items, st.integers(1, 9), st.integers(1, 6000), st.integers(2, 4))
@settings(max_examples=60)
@example([], 3, 1, 2)
def test_clips_come_by_shard_and_key_however_many_fit_into_memory(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[tuple[str, int, bytes]],
    num_shards: int,
    most: int,
    open_files: int,
) -> None:
    every = [
        (ledger.not_written(Failure(Clip(name, "/a", float(start)), "extract", "corrupt", "")), data or None)
        for name, start, data in found
    ]
    folder = tmp_path_factory.mktemp("order")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "MOST_BYTES", most)
        patch.setattr(spilled, "OPEN_FILES", open_files)
        ordered = list(order.in_order(str(folder), iter(every), num_shards))
    places = [(plan.shard_of(entry.id, num_shards), entry.key) for entry, _ in ordered]
    assert all(first < second for first, second in pairwise(places))
    assert sorted(ordered, key=repr) == sorted(every, key=repr)
    assert list(folder.iterdir()) == []


def test_by_way_of_many_temporary_files(
    output: Path, expected: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "MOST_BYTES", 5000)
    monkeypatch.setattr(spilled, "OPEN_FILES", 2)
    changed(output, 7)
    assert state(output) == state(expected[7])


def readable(directory: Path, expected: dict[int, Path]) -> int:
    """Asserts that readers see the old or the new data set, and nothing else -> its number of shards."""
    assert faults(directory) == []
    number = json.loads((directory / "manifest.json").read_text())["settings"]["num_shards"]
    names = [Path(file).name for file in matching_files(f"{directory}/*.tfrecord")]
    assert names == sorted(path.name for path in expected[number].glob("*.tfrecord"))
    seen = {record.id: record.values.tobytes() for record in read_records(f"{directory}/*.tfrecord")}
    assert seen == {record.id: record.values.tobytes() for record in read_records(f"{expected[number]}/*.tfrecord")}
    return number


@pytest.mark.parametrize("then", ["run", "reshard"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_operation_the_next_command_finishes_or_undoes_it(
    tmp_path: Path, expected: dict[int, Path], monkeypatch: pytest.MonkeyPatch, after: bool, then: str
) -> None:
    seen: list[int] = []
    old = functools.partial(shutil.copytree, expected[OLD])
    for directory, _ in at_each_operation(monkeypatch, tmp_path, old, changed, after=after):
        number = readable(directory, expected)
        seen.append(number)
        if then == "reshard":
            changed(directory)
            number = NEW
        else:
            opened = resume.start(str(directory), outputs.job(directory, number))
            assert opened.lost == ()
            with pytest.raises(resume.SettingsDiffer):
                resume.start(str(directory), outputs.job(directory, OLD + NEW - number))
        assert state(directory) == state(expected[number])
        assert left_overs(directory) == []
        shutil.rmtree(directory)
    assert set(seen) == {OLD, NEW}
    assert len(seen) >= 2 * NEW + 2 * NEW + 2 * OLD + 4


def test_what_recovers_may_be_killed_too(
    tmp_path: Path, expected: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-way before the manifest was switched, and half-way after it."""
    moments: dict[int, list[Path]] = {OLD: [], NEW: []}
    old = functools.partial(shutil.copytree, expected[OLD])
    for directory, _ in at_each_operation(monkeypatch, tmp_path, old, changed):
        found = manifest.read(str(directory))
        if found is not None and found.resharding:
            moments[found.num_shards].append(directory)
    for number, left in moments.items():
        half_way = functools.partial(shutil.copytree, left[len(left) // 2])
        count = 0
        for directory, _ in at_each_operation(monkeypatch, tmp_path / f"of {number}", half_way, recovered):
            count += 1
            assert readable(directory, expected) == number
            recovered(directory)
            assert state(directory) == state(expected[number])
            assert left_overs(directory) == []
        assert min(count, len(left)) > 3


def recovered(directory: Path) -> None:
    resume.recover(str(directory))


@pytest.mark.parametrize("also_later", [False, True])
def test_storage_that_fails_at_any_operation_is_a_clear_error_and_changes_nothing_by_half(
    tmp_path: Path, expected: dict[int, Path], monkeypatch: pytest.MonkeyPatch, also_later: bool
) -> None:
    old = functools.partial(shutil.copytree, expected[OLD])
    for directory, error in at_each_operation(monkeypatch, tmp_path, old, changed, full, also_later=also_later):
        assert error is not None
        assert error.found.startswith(f"{directory}: changing the number of shards failed: ")
        assert error.found.endswith("No space left on device")
        assert "Check that there is space for a copy of it" in error.remedy
        number = readable(directory, expected)
        if not also_later:  # what it had written is gone already
            assert state(directory) == state(expected[number])
            assert left_overs(directory) == []
        changed(directory)
        assert state(directory) == state(expected[NEW])
        assert left_overs(directory) == []
        shutil.rmtree(directory)


SCRIPT = """
import sys
from pipeline.output.resharding import change
for number in range(10_000):
    change.reshard(sys.argv[1], number % 2 + 2)
    print(number, flush=True)
"""


@pytest.mark.ci
def test_a_process_killed_again_and_again(output: Path, expected: dict[int, Path]) -> None:
    """Real processes and SIGKILL, at seeded moments; the lock of each is taken over by the next."""
    for _ in killed_processes(SCRIPT, output, times=6, seed=7):
        readable(output, expected)
    change.reshard(str(output), NEW)
    assert state(output) == state(expected[NEW])
    assert left_overs(output) == []


@pytest.mark.parametrize(
    "name", ["embeddings-00001-of-00002.tfrecord", "_state/ledger-00001-of-00002.jsonl"], ids=["records", "ledger"]
)
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
@pytest.mark.parametrize("number", [NEW, None])
def test_a_damaged_shard_is_named_and_nothing_is_changed(output: Path, name: str, how: str, number: int | None) -> None:
    path = output / name
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-9])
    elif "ledger" in name:
        path.write_bytes(data.replace(b"WAV/PCM", b"WAX/PCM"))
    else:  # sound, of the same ids and of the same size
        items = [(record, 255 - record.values) for record in read_records(str(path), incomplete="use")]
        with path.open("wb") as file:
            write_tfrecord(file, (to_sequence_example(r.id, r.start_s, r.end_s, r.labels, v) for r, v in items))
        assert len(path.read_bytes()) == len(data)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(OutputError) as caught:
        changed(output, number)
    assert caught.value.found.startswith(f"{output}/{name}: ")
    assert "what this file held is computed again" in caught.value.remedy
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_readers_name_shards_of_the_other_number(output: Path, expected: dict[int, Path]) -> None:
    for path in (path for path in expected[NEW].rglob("*-of-00003.*")):
        shutil.copy(path, output / path.relative_to(expected[NEW]))
    with pytest.raises(IncompleteError, match="left over from another data set"):
        matching_files(f"{output}/*.tfrecord")
    assert len(faults(output)) == 2 * NEW
    found = manifest.read(str(output))
    assert found is not None
    manifest.write(str(output), replace(found, resharding=NEW))
    assert readable(output, expected) == OLD
    assert "interrupted" in verify.verify_output(str(output)).notes[0]
    with pytest.raises(IncompleteError, match="left over from a change of their number"):
        matching_files(f"{output}/embeddings-*-of-00003.tfrecord")
    assert len(matching_files(f"{output}/*.tfrecord", "use")) == OLD + NEW


@pytest.mark.parametrize("value", [-1, OLD, "3", 2.5, True, [3]])
def test_a_manifest_with_another_number_that_is_none_is_refused(output: Path, value: object) -> None:
    content = json.loads((output / "manifest.json").read_text())
    (output / "manifest.json").write_text(json.dumps({**content, "resharding": value}))
    with pytest.raises(OutputError, match=r"manifest\.json gives .* as another number of shards than 2"):
        manifest.read(str(output))


def command(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, list[str]]:
    capfd.readouterr()
    status = reshard.main([*map(str, arguments)])
    out, err = capfd.readouterr()
    return status, out, err.splitlines()


REMEDY = "  Run the command that makes the data set to its end, then change the number of shards."


def begin_a_commit(output: Path) -> str:
    staged = outputs.stage(outputs.job(output, OLD), commit._expect(str(output)), [outputs.clip(77)])
    found = manifest.read(str(output))
    assert found is not None
    pending = tuple(manifest.Pending(result.entry, result.staged) for result in staged)
    manifest.write(str(output), replace(found, complete=False, pending=pending))
    return "a commit of 1 shard was begun"


def lose_a_shard(output: Path) -> str:
    (output / "embeddings-00000-of-00002.tfrecord").unlink()
    resume.recover(str(output))
    return "1 of 2 shards are there so far"


def leave_rows(output: Path) -> str:
    outputs.leave(outputs.job(output, OLD), [outputs.clip(77)])
    return "an interrupted run has left 1 file of finished rows"


def begin_an_overwrite(output: Path) -> str:
    found = manifest.read(str(output))
    assert found is not None
    manifest.write(str(output), replace(found, clearing=True))
    return "an overwrite of it was begun"


@pytest.mark.parametrize("unfinished", [begin_a_commit, lose_a_shard, leave_rows, begin_an_overwrite])
def test_what_is_not_finished_is_refused(
    output: Path, capfd: pytest.CaptureFixture[str], unfinished: Callable[[Path], str]
) -> None:
    why = unfinished(output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert command(capfd, output, "--num_shards", "3") == (2, "", [f"error: {output} is not finished: {why}", REMEDY])
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


def test_mistakes(output: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "nowhere"
    assert command(capfd, nowhere, "--num_shards", "3") == (
        2,
        "",
        [f"error: there is no {nowhere}/manifest.json", "  Name the folder of a data set."],
    )
    assert not nowhere.exists()
    status, _, err = command(capfd, output, "--num_shards", "some")
    assert (status, err[0]) == (2, "error: --num_shards: 'some' is not a whole number of 1 or more, nor auto")
    assert command(capfd, output)[2][0] == "error: missing: --num_shards"
    with lock.Lock(str(output)):
        status, _, err = command(capfd, output, "--num_shards", "3")
    assert (status, len(err)) == (2, 2)
    assert f"{output} is being written by process {os.getpid()}" in err[0]


def test_while_it_is_at_work_no_run_is(output: Path) -> None:
    with lock.Lock(str(output), role=change.ROLE), pytest.raises(lock.OutputBusy, match="a change of its number of"):
        lock.Lock(str(output))


def test_beside_the_job_of_an_engine_it_is_refused(output: Path) -> None:
    before = state(output)
    submitted.write(str(output), submitted.Submitted("PrismRunner", "job-7", "EXTERNAL"))
    with pytest.raises(OutputError, match="was given to the job job-7 of PrismRunner, which may still write to it"):
        change.reshard(str(output), NEW)
    submitted.remove(str(output))
    assert state(output) == before
    assert change.reshard(str(output), NEW).manifest.num_shards == NEW


def test_auto_is_what_a_run_would_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [replace(clip, size_bytes=10_000 * number) for number, clip in enumerate(CLIPS)]
    gone = [
        Failure(replace(outputs.clip(number), size_bytes=10**9), "plan", "no_audio", "") for number in range(50, 53)
    ]
    make(tmp_path / "out", 1, clips)
    for clips_of, bytes_of in ((7, 10**9), (10**9, 1_000_000)):
        monkeypatch.setattr(plan, "CLIPS_OF_A_SHARD", clips_of)
        monkeypatch.setattr(plan, "BYTES_OF_A_SHARD", bytes_of)
        wanted = resolve.default_num_shards(Corpus(clips))
        assert wanted > 5
        assert changed(tmp_path / "out", None).manifest.num_shards == wanted
    assert resolve.default_num_shards(Corpus(clips, gone)) == wanted


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).normal(0, 0.1, 16000 if number % 5 else 4000)
        soundfile.write(folder / f"{number:03d}.wav", noise, 16000)
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(200))
    return folder


def test_the_whole_by_its_commands(
    tmp_path: Path,
    audio: Path,
    embed_here: Embed,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plan, "CLIPS_OF_A_SHARD", 1)
    out, every = tmp_path / "out", ["--max_failures", "2"]
    first = ["--input", audio / "000.wav", "--input", audio / "001.wav"]
    warned = (
        f"warning: 1 shard for so many clips: after this run, python -m pipeline.reshard {out} --num_shards auto "
        "makes 13 of them, without embedding anything\n"
    )
    assert embed_here(out, *first, *every, "--num_shards", "1").err == ""
    done = embed_here(out, "--input", f"{audio}/*", *every)
    assert (done.status, done.err) == (0, warned)
    assert command(capfd, out, "--num_shards", "auto") == (
        0,
        f"9 records in 13 shards, 1 before: {out}/embeddings-*-of-00013.tfrecord\n",
        [],
    )
    done = embed_here(tmp_path / "fresh", "--input", f"{audio}/*", *every, "--num_shards", "13")
    assert (done.status, done.err) == (0, "")
    assert state(out) == state(tmp_path / "fresh")
    assert verify_command.main([str(out)]) == 0

    done = embed_here(out, "--input", f"{audio}/*", *every)  # without a number: that of the output
    assert (done.status, done.err) == (0, "")
    assert "nothing to compute" in done.out
    done = embed_here(out, "--input", f"{audio}/*", *every, "--num_shards", "1")
    assert (done.status, done.err.splitlines()[0]) == (
        2,
        f"error: --output: {out} was made with other settings: num_shards is 13 in the output, 1 was asked for",
    )
    assert command(capfd, out, "--num_shards", "13")[1].startswith("9 records in 13 shards, as before")

    soundfile.write(audio / "new.wav", np.random.default_rng(99).normal(0, 0.1, 16000), 16000)
    assert embed_here(out, "--input", f"{audio}/*", *every).status == 0
    assert embed_here(tmp_path / "grown", "--input", f"{audio}/*", *every, "--num_shards", "13").status == 0
    assert state(out) == state(tmp_path / "grown")


def test_a_task_finishes_what_was_interrupted(
    tmp_path: Path, audio: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, flags = tmp_path / "out", ["--input", f"{audio}/*", "--max_failures", "2"]
    assert embed_here(out, *flags, "--num_shards", "2").status == 0
    count = operations(monkeypatch, lambda: changed(shutil.copytree(out, tmp_path / "count"), 3))
    with Faults(monkeypatch).armed(count // 2), pytest.raises(Killed):
        changed(out, 3)
    assert json.loads((out / "manifest.json").read_text())["resharding"] == 3
    assert embed_here(out, *flags, "--task", "0/2").status == 0
    assert "resharding" not in json.loads((out / "manifest.json").read_text())
    assert left_overs(out) == []
