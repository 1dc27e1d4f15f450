"""A commit that is killed, or whose storage fails, at every single operation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.checking import verify
from pipeline.cli import verify as verify_command
from pipeline.output import commit, resume
from pipeline.output.layout import OutputError
from pipeline.types import StagedShard
from tests import outputs
from tests.faults import Faults, Killed, at_each_operation, full, killed_processes

OLD, NEW = [outputs.clip(number) for number in range(25)], [outputs.clip(number) for number in range(20, 40)]
ROOT = Path(__file__).parents[1]
Prepare = Callable[[Path], object]


def prove(directory: Path) -> None:
    """Every byte that the manifest promises is there, whatever happened."""
    report = verify.verify_output(str(directory))
    assert verify_command.fault_lines(report) == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Makes an output that holds the old clips, and the new ones in row files and staged."""
    template = tmp_path_factory.mktemp("template")
    job = outputs.job(template)
    STAGED[:] = outputs.stage(job, outputs.write(job, OLD), NEW)
    return lambda directory: shutil.copytree(template, directory)


STAGED: list[StagedShard] = []


def commit_staged(directory: Path) -> None:
    commit.finish(str(directory), STAGED, 40)


def finished_by_the_next_run(directory: Path) -> None:
    """What a run does that finds nothing to compute: clips are in shards, or in row files."""
    job = outputs.job(directory)
    opened = resume.start(str(directory), job)
    assert opened.lost == ()
    prove(directory)
    known = {entry.key for entry in commit.committed_ledger(str(directory))}
    if {clip.key for clip in NEW} <= known:
        commit.finish(str(directory), (), 40)
    else:
        outputs.write(job, ())


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("expected")
    outputs.write(outputs.job(directory), [*OLD, *NEW])
    return outputs.content(directory)


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_killed_at_any_operation_is_finished_by_the_next_run(
    tmp_path: Path,
    prepared: Prepare,
    monkeypatch: pytest.MonkeyPatch,
    expected: dict[str, bytes],
    after: bool,
) -> None:
    count = 0
    for directory, _ in at_each_operation(monkeypatch, tmp_path, prepared, commit_staged, after=after):
        count += 1
        prove(directory)
        finished_by_the_next_run(directory)
        prove(directory)
        assert outputs.content(directory) == expected
        assert not list((directory / "_state/staged").iterdir()) + list((directory / "_state/rows").iterdir())
        assert not list(directory.rglob(".*.tmp"))
    assert count >= 10
    assert outputs.content(tmp_path / "count") == expected


def test_a_recovery_killed_at_any_operation_is_finished_by_the_next(
    tmp_path: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch, expected: dict[str, bytes]
) -> None:
    def interrupted(directory: Path) -> None:
        prepared(directory)
        with Faults(monkeypatch).armed(3), pytest.raises(Killed):  # after the first renames
            commit_staged(directory)

    def recovered(directory: Path) -> None:
        resume.start(str(directory), outputs.job(directory))

    for directory, _ in at_each_operation(monkeypatch, tmp_path, interrupted, recovered):
        prove(directory)
        recovered(directory)
        prove(directory)
        finished_by_the_next_run(directory)
        assert outputs.content(directory) == expected


def test_an_overwrite_killed_at_any_operation_leaves_the_old_or_a_fresh_output(
    tmp_path: Path, prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwritten(directory: Path) -> None:
        resume.start(str(directory), outputs.job(directory, num_shards=2), overwrite=True)

    prepared(tmp_path / "before")
    before = outputs.content(tmp_path / "before")
    for directory, _ in at_each_operation(monkeypatch, tmp_path, prepared, overwritten):
        prove(directory)
        try:
            resume.start(str(directory), outputs.job(directory, num_shards=2))
        except resume.SettingsDiffer:
            assert outputs.content(directory) == before
        else:
            assert set(outputs.content(directory)) <= {"failures.jsonl"}
            prove(directory)


@pytest.mark.parametrize("also_later", [False, True])
def test_storage_that_fails_at_any_operation_is_a_clear_error_and_corrupts_nothing(
    tmp_path: Path,
    prepared: Prepare,
    monkeypatch: pytest.MonkeyPatch,
    expected: dict[str, bytes],
    also_later: bool,
) -> None:
    failed = 0
    for directory, error in at_each_operation(
        monkeypatch, tmp_path, prepared, commit_staged, full, also_later=also_later
    ):
        if error:  # removing a left-over may fail unnoticed
            failed += 1
            said = (f"{directory}: ", "No space left on device", "run the same command again")
            assert all(part in str(error) for part in said)
        prove(directory)
        finished_by_the_next_run(directory)
        assert outputs.content(directory) == expected
    assert failed >= 8


SCRIPT = """
import sys
from tests import outputs
job = outputs.job(sys.argv[1])
for begin in range(0, 40, 2):
    outputs.write(job, [outputs.clip(number) for number in range(begin, begin + 2)])
    print(begin, flush=True)
"""


@pytest.mark.ci
def test_a_process_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path, expected: dict[str, bytes]) -> None:
    """Real processes and SIGKILL, at seeded moments after the first commit."""
    for _ in killed_processes(SCRIPT, tmp_path, times=5, seed=6):
        prove(tmp_path)
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    prove(tmp_path)
    assert outputs.content(tmp_path) == expected


def test_a_result_that_does_not_build_on_the_output_is_refused(tmp_path: Path) -> None:
    job = outputs.job(tmp_path)
    manifest = outputs.write(job, OLD)
    stale = outputs.stage(job, manifest, NEW)
    other = outputs.merge(job, manifest, (), drops=OLD[:3])
    commit.finish(str(tmp_path), other)
    with pytest.raises(OutputError, match="does not build on what the output holds now"):
        commit.finish(str(tmp_path), stale)


def test_a_result_of_settings_that_were_replaced_is_refused(tmp_path: Path) -> None:
    job, other = outputs.job(tmp_path), outputs.job(tmp_path, embeddings="raw")
    before = resume.start(str(tmp_path), job).manifest
    resume.start(str(tmp_path), other, overwrite=True)  # killed, and the first job's workers go on
    late = outputs.stage(job, before, OLD)
    with pytest.raises(OutputError, match="does not build on what the output holds now"):
        commit.finish(str(tmp_path), late, len(OLD))
    assert not list(tmp_path.glob("embeddings-*"))


def test_a_commit_that_an_engine_tries_again_is_done_once(tmp_path: Path) -> None:
    job = outputs.job(tmp_path)
    manifest = outputs.write(job, OLD)
    parts = outputs.leave(job, NEW)
    staged, again = (outputs.merge(job, manifest, parts) for _ in range(2))
    first = commit.finish(str(tmp_path), [*staged, *again], 40)
    assert replace(commit.finish(str(tmp_path), again, 40), run={}) == replace(first, run={})  # which has the time


def test_totals_that_do_not_add_up_are_not_committed(tmp_path: Path) -> None:
    job = outputs.job(tmp_path)
    opened = resume.start(str(tmp_path), job)
    staged = outputs.stage(job, opened.manifest, OLD)
    with pytest.raises(OutputError, match="accounts for 25 clips, 26 were planned"):
        commit.finish(str(tmp_path), staged, clips_in=26)
    assert not list(tmp_path.glob("embeddings-*"))
    manifest = commit.finish(str(tmp_path), staged, clips_in=25)
    assert manifest.complete
    totals = manifest.totals
    assert totals["clips_in"] == totals["written"] + totals["failed"] + totals["skipped"] == 25
    assert (manifest.failures, manifest.skips) == ({"corrupt": 2}, {"too_short": 2})


def test_a_second_run_with_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    job = outputs.job(tmp_path)
    outputs.write(job, OLD)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    resume.start(str(tmp_path), job)
    commit.finish(str(tmp_path), clips_in=len(OLD))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
