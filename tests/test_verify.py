from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.checking import verify
from pipeline.checking.checks import Rules, examples_in
from pipeline.cli import verify as verify_command
from pipeline.corpus.plan import shard_of
from pipeline.output import commit, resume, shards
from pipeline.output.layout import OutputError
from pipeline.output.records import parse, to_sequence_example
from pipeline.output.sequence_example import SequenceExample
from pipeline.output.tfrecord import read_tfrecord, write_tfrecord
from pipeline.types import RecordFormat
from tests import outputs

CLIPS = [outputs.clip(number) for number in range(60)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output, not to be touched."""
    directory = tmp_path_factory.mktemp("sound")
    outputs.write(outputs.job(directory, num_shards=4), CLIPS)
    return directory


@pytest.fixture
def output(sound: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(sound, tmp_path / "output"))


def shard(output: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(output.glob("embeddings-*")))


def load(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return list(read_tfrecord(file))


def store(path: Path, records: list[bytes]) -> None:
    with path.open("wb") as file:
        write_tfrecord(file, records)


def with_frame(data: bytes, width: int) -> bytes:
    """The record with its first frame cut or stretched to a width."""
    message = SequenceExample.FromString(data)
    message.feature_lists.feature_list["audio_embedding"].feature[0].bytes_list.value[0] = bytes(width)
    return message.SerializeToString(deterministic=True)


def flip_a_bit(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    content = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return "checksum|not plausible|ends"


def truncate(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])
    return "sha256"


def cut_between_records(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    store(path, load(path)[:-1])
    return "written according to the ledger, but not in the file"


def remove_a_shard(output: Path, rng: random.Random) -> str:
    shard(output, rng).unlink()
    return "missing"


def duplicate_an_id(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    records = load(path)
    index = rng.randrange(len(records))
    store(path, [*records[: index + 1], *records[index:]])
    return "more often than the ledger has it"


def move_to_another_shard(output: Path, rng: random.Random) -> str:
    source, target = rng.sample(sorted(output.glob("embeddings-*")), 2)
    records = load(source)
    moved = records.pop(rng.randrange(len(records)))
    store(source, records)
    store(target, sorted([*load(target), moved], key=lambda data: parse(data).id))
    return "belongs in shard"


def swap_two_records(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    records = load(path)
    index = rng.randrange(len(records) - 1)
    records[index], records[index + 1] = records[index + 1], records[index]
    store(path, records)
    return "not in order"


def narrow_a_frame(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    records = load(path)
    index = rng.randrange(len(records))
    records[index] = with_frame(records[index], 127)
    store(path, records)
    return "frame 0 of .* has 127 bytes, not 128"


def drop_a_frame(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    records = load(path)
    index = next(i for i, data in enumerate(records) if len(parse(data).values) > 1)
    found = parse(records[index])
    assert found.start_s is not None
    assert found.end_s is not None
    shorter = to_sequence_example(found.id, found.start_s, found.end_s, found.labels, found.values[1:])
    records[index] = shorter
    store(path, records)
    return "frames, .* in the ledger"


def change_labels(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    records = load(path)
    message = SequenceExample.FromString(records[0])
    message.context.feature["labels"].int64_list.value[0] = 2
    records[0] = message.SerializeToString(deterministic=True)
    store(path, records)
    return r"labels \[2, 7\], \[1, 7\] in the ledger"


def rename_a_key(output: Path, rng: random.Random) -> str:
    path = shard(output, rng)
    records = load(path)
    message = SequenceExample.FromString(records[0])
    message.context.feature["start_seconds"].CopyFrom(message.context.feature["start_time_seconds"])
    del message.context.feature["start_time_seconds"]
    records[0] = message.SerializeToString(deterministic=True)
    store(path, records)
    return "no start_time_seconds in the context"


def leave_a_stale_shard(output: Path, rng: random.Random) -> str:
    shutil.copy(shard(output, rng), output / "embeddings-00005-of-00008.tfrecord")
    return "embeddings-00005-of-00008.tfrecord: not in the manifest, a left-over"


def take_a_manifest_of_another_run(output: Path, rng: random.Random) -> str:
    other = output.parent / "other"
    outputs.write(outputs.job(other, num_shards=4), [outputs.clip(c, "2") for c in range(60)])
    shutil.copy(other / "manifest.json", output)
    return "in the manifest"


def take_a_manifest_of_other_settings(output: Path, rng: random.Random) -> str:
    other = output.parent / "other"
    outputs.write(outputs.job(other, num_shards=3), CLIPS)
    shutil.copy(other / "manifest.json", output)
    return "missing"


def edit_the_manifest(output: Path, rng: random.Random) -> str:
    path = output / "manifest.json"
    content = json.loads(path.read_text())
    what = rng.choice(["settings", "totals", "shards"])
    if what == "settings":
        content["settings"]["hop_seconds"] = 0.48
    elif what == "totals":
        content["totals"]["failed"] += 1
    else:
        content["shards"].pop()
    path.write_text(json.dumps(content))
    return {"settings": "the fingerprint", "totals": "not the shards' sums", "shards": "lacks shards"}[what]


def remove_a_ledger(output: Path, rng: random.Random) -> str:
    rng.choice(sorted((output / "_state").glob("ledger-*"))).unlink()
    return r"ledger-.*: missing"


def edit_a_ledger(output: Path, rng: random.Random) -> str:
    path = rng.choice(sorted((output / "_state").glob("ledger-*")))
    path.write_text(path.read_text().replace('"uri":"/audio', '"uri":"/video', 1))
    return "ledger's sha256"


def edit_the_failures(output: Path, rng: random.Random) -> str:
    path = output / "failures.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    index = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines[index] = lines[index].replace("/audio", "/video")
    else:
        del lines[index]
    path.write_text("".join(lines))
    return r"failures\.jsonl"


def remove_the_failures(output: Path, rng: random.Random) -> str:
    (output / "failures.jsonl").unlink()
    return r"failures\.jsonl: missing"


def empty_a_shard(output: Path, rng: random.Random) -> str:
    shard(output, rng).write_bytes(b"")
    return "0 records, 0 examples"


CORRUPTIONS: list[Callable[[Path, random.Random], str]] = [
    flip_a_bit,
    truncate,
    cut_between_records,
    remove_a_shard,
    duplicate_an_id,
    move_to_another_shard,
    swap_two_records,
    narrow_a_frame,
    drop_a_frame,
    change_labels,
    rename_a_key,
    leave_a_stale_shard,
    take_a_manifest_of_another_run,
    take_a_manifest_of_other_settings,
    edit_the_manifest,
    remove_a_ledger,
    edit_a_ledger,
    edit_the_failures,
    remove_the_failures,
    empty_a_shard,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_corruption_is_found(
    output: Path, corrupt: Callable[[Path, random.Random], str], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    expected = corrupt(output, random.Random(seed))
    assert verify_command.main([str(output)]) == 1
    faults = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAULT ")]
    assert faults
    assert any(re.search(expected, line) for line in faults), faults


def test_a_sound_output_has_no_faults_and_a_table(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_command.main([str(sound)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == sorted(path.name for path in sound.glob("embeddings-*"))
    written = json.loads((sound / "manifest.json").read_text())["totals"]["written"]
    assert lines[6].split()[:3] == ["4", "files", str(written)]
    counts = np.bincount(
        np.concatenate([parse(data).values.ravel() for p in sound.glob("embeddings-*") for data in load(p)])
    )
    zero, full = counts[0] / counts.sum(), counts[255] / counts.sum()
    assert lines[7].startswith(f"bytes: {zero:.1%} are 0, {full:.1%} are 255")
    assert lines[-1] == "no faults"


@pytest.mark.ci
def test_the_released_files_have_no_faults(audioset_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All 42,531 records; shares of 0 and 255 as published for them."""
    assert verify_command.main(["--manifest", "none", "--jobs", "1", str(audioset_data / "*.tfrecord")]) == 0
    out = capsys.readouterr().out
    assert "42,531" in out
    assert "bytes: 9.3% are 0, 8.9% are 255, mean 126.4" in out


def test_files_of_tensorflow_have_no_faults(made_audioset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """5,700 records; shares of 0 and 255 as NumPy counts them."""
    assert verify_command.main(["--manifest", "none", "--jobs", "1", str(made_audioset / "*.tfrecord")]) == 0
    out = capsys.readouterr().out
    values = np.concatenate([parse(data).values.ravel() for p in made_audioset.glob("*.tfrecord") for data in load(p)])
    zero, full = np.mean(values == 0), np.mean(values == 255)
    assert 0.05 < full < zero < 0.1
    assert "5,700" in out
    assert f"bytes: {zero:.1%} are 0, {full:.1%} are 255, mean {values.mean():.1f}" in out


@pytest.mark.parametrize(
    ("corrupt", "found"),
    [(flip_a_bit, "FAULT"), (duplicate_an_id, "same id and times twice"), (narrow_a_frame, "127"), (truncate, "ends")],
)
def test_files_without_a_manifest_are_checked_by_themselves(
    output: Path, corrupt: Callable[[Path, random.Random], str], found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = str(output / "embeddings-*")
    assert verify_command.main([pattern, "--manifest", "none"]) == 0
    corrupt(output, random.Random(4))
    assert verify_command.main([pattern, "--manifest", "none"]) == 1
    assert found in capsys.readouterr().out


def test_several_processes_find_the_same(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow_a_frame(output, random.Random(5))
    alone = verify_command.fault_lines(verify.verify_output(str(output)))
    monkeypatch.setattr(verify, "SMALL_BYTES", 0)
    assert (
        verify_command.fault_lines(verify.verify_output(str(output), check=partial(verify.check_files, jobs=2)))
        == alone
        != []
    )


@pytest.mark.parametrize("arguments", [["nowhere"], ["nothing-*", "--manifest", "none"], ["a", "b"]])
def test_nothing_to_check_is_exit_status_2(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert verify_command.main(arguments) == 2
    assert "error: " in capsys.readouterr().err


def test_an_unfinished_output_is_checked_for_what_is_there(tmp_path: Path) -> None:
    job = outputs.job(tmp_path, num_shards=8)
    manifest = outputs.write(job, CLIPS[:3])
    lost = next(entry for entry in manifest.shards if entry.records)
    (tmp_path / lost.name).unlink()
    resume.start(str(tmp_path), job)  # strikes it
    report = verify.verify_output(str(tmp_path))
    assert report.fault_count == 0
    assert "not complete: " in report.notes[0]
    assert sum(file.records for file in report.files) == manifest.totals["written"] - lost.records


def test_a_copy_for_readers_without_state_is_checked_without_it(output: Path) -> None:
    shutil.rmtree(output / "_state")
    report = verify.verify_output(str(output))
    assert (report.fault_count, len(report.notes)) == (0, 1)
    drop_a_frame(output, random.Random(1))
    assert verify.verify_output(str(output)).fault_count > 0


def test_a_manifest_that_is_kept_elsewhere_proves_the_records(output: Path, tmp_path: Path) -> None:
    kept = shutil.move(output / "manifest.json", tmp_path / "kept.json")
    with pytest.raises(OutputError, match=r"there is no .*manifest\.json"):
        verify.verify_output(str(output))
    assert verify.verify_output(str(output), str(kept)).fault_count == 0
    swap_two_records(output, random.Random(1))
    assert verify.verify_output(str(output), str(kept)).fault_count > 0


def test_a_record_of_the_writers_own_making_is_checked_beyond_its_hash(tmp_path: Path) -> None:
    """A writer that puts a clip into the wrong shard also writes that shard's hash: the hash proves nothing then."""
    job = outputs.job(tmp_path, num_shards=2)
    opened = resume.start(str(tmp_path), job)
    wrong = 1 - shard_of(CLIPS[0].id, 2)
    parts = outputs.leave(job, CLIPS[:1])
    result = shards.write_shard(job.output, wrong, parts, commit.attempt_name(opened.manifest))
    commit.finish(str(tmp_path), [result])
    lines = verify_command.fault_lines(verify.verify_output(str(tmp_path)))
    assert any(f"belongs in shard {1 - wrong}" in line for line in lines)


@pytest.mark.parametrize("layout", ["youtube8m", "youtube8m_video"])
def test_two_records_of_one_id_without_times_are_a_fault(tmp_path: Path, layout: RecordFormat) -> None:
    """As a run wrote them before it refused such lists; with times they are two clips."""
    two = [replace(CLIPS[0], start_s=0.0, end_s=9.0), replace(CLIPS[0], start_s=9.0, end_s=18.0)]
    for name in ("audioset", layout):
        outputs.write(outputs.job(tmp_path / name, 1, name), two)
    assert not any("twice" in line for line in verify_command.fault_lines(verify.verify_output(f"{tmp_path}/audioset")))
    lines = verify_command.fault_lines(verify.verify_output(str(tmp_path / layout)))
    assert any("the same id and times twice" in line for line in lines)


@pytest.mark.parametrize("seconds", [0.975, 0.98, 1.93, 1.94, 10.0, 5.0, 3600.0])
def test_examples_follow_the_released_rule(seconds: float) -> None:
    """Frames of a released record = floor((100 * duration - 2) / 96), for durations in hundredths."""
    if seconds != 0.975:
        assert examples_in(seconds, Rules()) == (round(100 * seconds) - 2) // 96
    assert examples_in(0.975, Rules()) == 1
    assert examples_in(0.9749, Rules()) == 0
    assert examples_in(0.3, Rules(padded=True)) == 1
    assert examples_in(0.975 + 0.48, Rules(hop_frames=48)) == 2
