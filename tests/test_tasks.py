"""`--task I/N`: independent commands that share an output write what one run writes, in any order, killed or not."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.checking import verify
from pipeline.cli import verify as verify_command
from pipeline.cli.options import parse
from pipeline.errors import FlagError
from pipeline.output.journal import held
from pipeline.output.lock import Lock
from pipeline.output.tasks import Task
from pipeline.running import tasks
from pipeline.types import Clip
from tests import outputs
from tests.command import STANDIN, failures, manifest
from tests.faults import Faults, Killed
from tests.in_process import Embed
from tests.test_interruption import Run, computed, perhaps_kept

CLIPS, SHARDS = 14, 5
FLAGS = ["--num_shards", str(SHARDS), "--max_failures", "2"]


def make(folder: Path, numbers: range, seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        noise = np.random.default_rng([seed, number]).normal(0, 0.1, 24000)
        soundfile.write(folder / f"{number:03d}.wav", noise, 16000)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    make(folder, range(CLIPS))
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


def share_of(folder: Path, task: Task) -> list[str]:
    """Ids of the clips that a task computes."""
    return [path.stem for path in sorted(folder.iterdir()) if task.owns(Clip(path.stem, str(path)))]


def missing(folder: Path, *tasks: str) -> str:
    """What is said of tasks that have not run."""
    shares = {task: share_of(folder, Task(*map(int, task.split("/")))) for task in tasks}
    return "missing are " + ", ".join(f"{len(clips)} of task {task}" for task, clips in shares.items() if clips)


def promised(output: Path) -> dict[str, object]:
    """The manifest but for what changes no bytes."""
    return {name: value for name, value in manifest(output).items() if name != "run"}


def same(output: Path, whole: Path) -> None:
    assert outputs.content(output) == outputs.content(whole)
    assert promised(output) == promised(whole)
    assert set(manifest(output)["run"]) >= {"created", "versions", "processor", "engine"}
    assert "earlier" not in manifest(output)["run"]  # all on one machine
    left = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert not {name for name in left if any(word in name for word in ("rows", "staged", "task", "lock", "plan"))}
    report = verify.verify_output(str(output))
    assert not report.fault_count, verify_command.fault_lines(report)


def whole_run(embed: Embed, audio: Path, output: Path, *flags: str) -> Path:
    done = embed(output, "--input", audio, *FLAGS, *flags)
    assert done.status == 0, done.err
    return output


def test_tasks_in_any_order_write_what_one_run_writes(
    audio: Path, tmp_path: Path, embed_here: Embed, full: bool
) -> None:
    whole = whole_run(embed_here, audio, tmp_path / "whole")
    for order in itertools.permutations(range(3)) if full else [(2, 0, 1)]:
        output = tmp_path / "".join(map(str, order))
        for position, index in enumerate(order):
            done = embed_here(output, "--input", audio, *FLAGS, "--task", f"{index}/3")
            assert done.status == 0, done.err
            assert not verify.verify_output(str(output)).fault_count
            assert f"task {index}/3: {len(share_of(audio, Task(index, 3)))} clips" in done.out
            if position < 2:
                assert not list(output.glob("embeddings-*"))
                assert missing(audio, *(f"{i}/3" for i in sorted(order[position + 1 :]))) in done.out
        assert "15 clips: 14 written, 1 failed, 0 skipped" in done.out
        same(output, whole)


@pytest.mark.ci
def test_more_tasks_than_clips_and_the_end_asked_for_twice(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    whole = whole_run(embed_here, audio, tmp_path / "whole")
    output = tmp_path / "out"
    last = next(index for index in range(20) if share_of(audio, Task(index, 20)))
    for index in range(20):
        if index != last:
            assert embed_here(output, "--input", audio, *FLAGS, "--task", f"{index}/20").status == 0
    done = embed_here(output, "--input", audio, *FLAGS, "--task", "finish")
    assert done.status == 2
    count = len(share_of(audio, Task(last, 20)))
    assert f"not all tasks are done: {count} clip" in done.err
    assert f"(task {last}/20)" in done.err
    assert embed_here(output, "--input", audio, *FLAGS, "--task", f"{last}/20").status == 0
    same(output, whole)
    for _ in range(2):
        done = embed_here(output, "--input", audio, *FLAGS, "--task", "finish")
        assert done.status == 0
        assert "nothing to compute" in done.out
        same(output, whole)
    assert "nothing to compute" in embed_here(output, "--input", audio, *FLAGS, "--task", "0/7").out
    same(output, whole)


def test_finish_before_any_task_says_so(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    done = embed_here(tmp_path / "out", "--input", audio, *FLAGS, "--task", "finish")
    assert done.status == 2
    assert "no task has begun: 15 clips are missing, such as 000" in done.err


def test_continued_with_another_number_of_tasks(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    whole = whole_run(embed_here, audio, tmp_path / "whole")
    output = tmp_path / "out"
    assert embed_here(output, "--input", audio, *FLAGS, "--task", "1/3").status == 0
    assert "0 clips were there" not in embed_here(output, "--input", audio, *FLAGS, "--task", "0/2").out
    done = embed_here(output, "--input", audio, *FLAGS, "--task", "1/2")
    assert done.status == 0
    assert "clips were there already" in done.out  # some were 1/3's
    same(output, whole)


def test_a_plain_run_takes_over_what_tasks_computed(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    whole = whole_run(embed_here, audio, tmp_path / "whole")
    output = tmp_path / "out"
    assert embed_here(output, "--input", audio, *FLAGS, "--task", "1/3").status == 0
    done = embed_here(output, "--input", audio, *FLAGS)
    assert done.status == 0
    count = len(share_of(audio, Task(1, 3)))
    assert f"The last run was stopped with {count} clips done, not yet committed: kept." in done.err
    assert f"{len(share_of(audio, Task(1, 3)))} clips were there already" in done.out
    same(output, whole)


def test_growth_retry_and_prune(tmp_path: Path, embed_here: Embed) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(8))
    (audio / "broken.wav").write_bytes(b"no audio")
    whole_run(embed_here, audio, output)
    before = outputs.content(output)
    make(audio, range(8, 12))
    (audio / "003.wav").unlink()
    soundfile.write(audio / "broken.wav", np.random.default_rng(1).normal(0, 0.1, 24000), 16000)
    flags = ["--input", audio, *FLAGS, "--prune", "--retry_failed"]
    assert embed_here(output, *flags, "--task", "0/2").status == 0
    assert outputs.content(output) == before  # readers see the old data set until all is done
    assert not verify.verify_output(str(output)).fault_count
    done = embed_here(output, *flags, "--task", "1/2")
    assert done.status == 0, done.err
    same(output, whole_run(embed_here, audio, tmp_path / "fresh"))
    assert failures(output) == {}
    assert embed_here(output, *flags, "--task", "finish").status == 0


def test_a_task_that_found_less_commits_nothing(tmp_path: Path, embed_here: Embed) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(8))
    for index in (0, 1):
        assert embed_here(output, "--input", audio, *FLAGS, "--task", f"{index}/3").status == 0
    taken = share_of(audio, Task(0, 3))[0]
    (audio / f"{taken}.wav").rename(tmp_path / f"{taken}.wav")  # a file system that is mounted in part, say
    for task in ("2/3", "finish"):
        done = embed_here(output, "--input", audio, *FLAGS, "--task", task)
        assert done.status == 2
        assert f"computed 1 clip that is not among the 7 found now, such as {taken}" in done.err
        assert "run the command once without --task" in done.err.replace("\n", " ")
    done = embed_here(output, "--input", audio, "--num_shards", "4", "--task", "1/2")
    assert "num_shards is 5 in the output, 4 was asked for" in done.err
    assert done.status == 2
    (tmp_path / f"{taken}.wav").rename(audio / f"{taken}.wav")
    assert embed_here(output, "--input", audio, *FLAGS, "--task", "finish").status == 0
    same(output, whole_run(embed_here, audio, tmp_path / "fresh"))


def test_rows_that_outlive_their_commit_are_no_other_corpus(
    tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(4))
    with monkeypatch.context() as patch:
        patch.setattr(held, "remove_all", lambda directory: None)  # as if killed just before
        whole_run(embed_here, audio, output)
    (audio / "002.wav").unlink()
    done = embed_here(output, "--input", audio, *FLAGS, "--task", "0/1")
    assert done.status == 0, done.err
    assert "4 clips: 4 written" in done.out
    assert not list((output / "_state/rows").iterdir())


def test_a_corpus_that_grows_during_an_array(tmp_path: Path, embed_here: Embed) -> None:
    audio, output = tmp_path / "audio", tmp_path / "out"
    make(audio, range(8))
    assert embed_here(output, "--input", audio, *FLAGS, "--task", "0/2").status == 0
    more = [number for number in range(8, 40) if Task(0, 2).owns(Clip(f"{number:03d}", ""))][:3]
    for number in more:
        make(audio, range(number, number + 1))
    done = embed_here(output, "--input", audio, *FLAGS, "--task", "1/2")
    assert done.status == 0
    assert not list(output.glob("embeddings-*"))  # there is more in task 0's share now
    done = embed_here(output, "--input", audio, *FLAGS, "--task", "0/2")
    assert done.status == 0
    same(output, whole_run(embed_here, audio, tmp_path / "fresh"))


def test_what_excludes_what(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    output = tmp_path / "out"
    flags = ["--input", audio, *FLAGS]
    with Lock(str(output)):
        done = embed_here(output, *flags, "--task", "0/2")
        assert (done.status, "is being written by process" in done.err) == (2, True)
    assert embed_here(output, *flags, "--task", "0/2").status == 0
    with Lock(str(output), Task(1, 2)):
        for more in ([], ["--task", "finish"], ["--task", "1/2"], ["--task", "3/4"]):
            done = embed_here(output, *flags, *more)
            assert done.status == 2
            assert f"process {os.getpid()} on " in done.err
            assert "(task 1/2)" in done.err
        assert embed_here(output, *flags, "--task", "0/2").status == 0
    assert embed_here(output, *flags, "--task", "1/2").status == 0


def interrupted_ends(
    audio: Path, folder: Path, embed: Embed, patch: pytest.MonkeyPatch, moments: int, then: list[list[str]]
) -> None:
    """Kills `--task finish` at so many moments, then runs other commands, one a moment in turn."""
    whole = whole_run(embed, audio, folder / "whole")
    with patch.context() as never:
        never.setattr(tasks, "finish_if_last", lambda *arguments: None)
        for index in (0, 1):
            assert embed(folder / "ready", "--input", audio, *FLAGS, "--task", f"{index}/2").status == 0
    faults = Faults(patch, Killed)
    shutil.copytree(folder / "ready", folder / "counted")
    with faults.armed(-1):
        assert embed(folder / "counted", "--input", audio, *FLAGS, "--task", "finish").status == 0
    assert faults.count > 30
    count = faults.count  # each run counts from 0
    for number in range(min(moments, count)):
        at = number * count // min(moments, count)
        output, next_one = folder / f"at{at}", then[number % len(then)]
        shutil.copytree(folder / "ready", output)
        with faults.armed(at), suppress(Killed):  # a worker's is the engine's error
            assert embed(output, "--input", audio, *FLAGS, "--task", "finish").status == 1
        # Killed while it gave the lock up: a dead process' lock is taken over, but this process lives.
        (output / "_state" / "lock.json").unlink(missing_ok=True)
        if (output / "manifest.json").exists():
            assert not verify.verify_output(str(output)).fault_count
        done = embed(output, "--input", audio, *FLAGS, *next_one)
        assert done.status == 0, (at, next_one, done.err)
        same(output, whole)


def test_an_end_that_is_interrupted_is_finished_by_whoever_comes_next(
    audio: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [["--task", "0/2"], ["--task", "finish"], ["--task", "finish"], []]
    interrupted_ends(audio, tmp_path, embed_here, monkeypatch, 4, others)


@pytest.mark.full
def test_an_end_that_is_interrupted_at_any_moment(
    audio: Path, tmp_path: Path, embed_here: Embed, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [["--task", "finish"], ["--task", "1/2"], ["--task", "finish"], ["--task", "2/5"], []]
    interrupted_ends(audio, tmp_path, embed_here, monkeypatch, 40, others)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--task", "3/3"], "tasks are numbered from 0, the last of 3 is 2/3"),
        (["--task", "1"], r"'1' is neither I/N \(such as 0/3\) nor finish"),
        (["--task", "0/0"], "'0/0' is neither"),
        (["--task", "0/2", "--overwrite"], "would throw away what the other tasks computed"),
        (["--task", "0/2", "--check"], "--check tries the whole job"),
    ],
)
def test_unusable_tasks(flags: list[str], said: str) -> None:
    with pytest.raises(FlagError, match=said):
        parse(["--output", "out", "--input", "in", *STANDIN, *flags])


def started(audio: Path, folder: Path, name: str, task: str, example_s: float = 0.02) -> Run:
    flags = ["--num_shards", str(SHARDS), "--task", task]
    return Run(folder / name, "--input", audio, "--output", folder / "out", *flags, example_s=example_s)


@pytest.fixture(scope="module")
def whole(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    flags: list[str | Path] = ["--input", audio, "--output", folder / "out", "--num_shards", str(SHARDS)]
    status, said = Run(folder / "log", *flags).end()
    assert status == 0, said
    return folder / "out"


@pytest.mark.ci
def test_tasks_at_the_same_time(audio: Path, tmp_path: Path, whole: Path) -> None:
    runs = {name: started(audio, tmp_path, name, f"{name[0]}/3", example_s=1) for name in ("0", "1", "1 again", "2")}
    ended = {name: (*run.end(), run) for name, run in runs.items()}
    failed = {name: said for name, (status, said, _) in ended.items() if status}
    assert len(failed) == 1, failed
    (refused,) = failed
    status, said, _ = ended.pop(refused)
    twin = ended["1 again" if refused == "1" else "1"][2]
    assert status == 2
    assert f"is being written by process {twin.process.pid} on " in said
    assert "(task 1/3)" in said
    same(tmp_path / "out", whole)
    for name, (_, _, run) in ended.items():
        assert sorted(computed(run.lines())[0]) == share_of(audio, Task(int(name[0]), 3))


def killed_and_started_again(audio: Path, folder: Path, seed: int) -> None:
    """Three tasks at the same time, each killed at seeded moments until it was killed twice."""
    rng = random.Random(seed)
    runs = {index: started(audio, folder, f"log{index}", f"{index}/3") for index in range(3)}
    kills = dict.fromkeys(runs, 0)
    logs: dict[int, list[list[str]]] = {index: [] for index in runs}
    moments = {index: rng.randrange(1, 9) for index in runs}
    while runs:
        for index, run in list(runs.items()):
            if run.process.poll() is None and len(run.lines()) < moments[index]:
                continue
            if kills[index] < 2 and run.process.poll() is None:
                time.sleep(rng.uniform(0, 0.1))
                status, said = run.signal(signal.SIGKILL)
            else:
                status, said = run.end()
            logs[index].append(run.lines())
            if status == 0:
                del runs[index]
                continue
            assert status == -signal.SIGKILL, said
            kills[index] += 1
            moments[index] = rng.randrange(1, 9)
            runs[index] = started(audio, folder, f"log{index}-{kills[index]}", f"{index}/3")
        time.sleep(0.01)
    for index, of_task in logs.items():
        done = [clip for lines in of_task for clip in computed(lines)[0]]
        assert len(done) == len(set(done))  # what was kept was not computed again
        assert set(done) <= set(share_of(audio, Task(index, 3))) == set().union(*map(perhaps_kept, of_task))


@pytest.mark.full
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_of_three_tasks_killed_and_started_again(audio: Path, tmp_path: Path, whole: Path, seed: int) -> None:
    killed_and_started_again(audio, tmp_path, seed)
    same(tmp_path / "out", whole)
