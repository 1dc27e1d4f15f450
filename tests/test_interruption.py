"""The command killed, refused, out of space, and run again: nothing is lost, nothing is done twice that need not be."""

from __future__ import annotations

import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.checking import verify
from pipeline.cli import verify as verify_command
from pipeline.output.journal import rows
from pipeline.output.layout import is_history
from tests import interrupted_run, outputs
from tests.command import REPOSITORY, embed, processes_of
from tests.in_process import Embed

CLIPS, SECONDS = 60, 1.5
OTHERS = (signal.SIGINT, signal.SIGHUP)
FOUR = ["--num_shards", "4"]
OFTEN = {"TEST_BATCH": "2", "TEST_ROWS_SECONDS": "0.05"}
"""Small batches, and a row file for every few of them: what a small run is to a large one."""


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(6)
    for number in range(CLIPS):
        soundfile.write(folder / f"{number:03d}.wav", rng.normal(0, 0.1, round(SECONDS * 16000)), 16000)
    (folder / "broken.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture(autouse=True)
def hanging_up_ends() -> Iterator[None]:
    """Under nohup, what starts here would ignore SIGHUP as well, and rightly."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Run:
    """The command in a process group of its own, and its log."""

    def __init__(self, log: Path, *arguments: str | Path, example_s: float = 0.02) -> None:
        self.log = log
        command = [sys.executable, "-m", "tests.interrupted_run", log, *arguments, "--max_failures", "1"]
        self.process = subprocess.Popen(
            [str(item) for item in command],
            cwd=REPOSITORY,
            env={**os.environ, **OFTEN, "TEST_EXAMPLE_SECONDS": str(example_s)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait_for(self, enough: Callable[[list[str]], bool]) -> bool:
        """Until the log says so; False if the command ended first."""
        while not enough(self.lines()):
            if self.process.poll() is not None:
                return False
            time.sleep(0.005)
        return True

    def signal(self, number: int) -> tuple[int, str]:
        """Sends the whole group a signal -> exit status, what was said."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        return self.end()

    def signal_each(self, number: int, pause_s: float) -> tuple[int, str]:
        """As `signal`, to those that it started first, and some time later to itself, as systemd and Slurm might:
        decoders are in groups of their own."""
        for pid in descendants(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(pause_s)
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        return self.end()

    def end(self) -> tuple[int, str]:
        said = self.process.communicate()[1]
        return self.process.returncode, said


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in found.splitlines()]
    own = [child for child, parent in pairs if parent == pid]
    return [*own, *(below for child in own for below in descendants(child))]


@pytest.fixture(scope="module")
def whole(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The output of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    status, said = Run(folder / "log", "--input", audio, "--output", folder / "out", "--num_shards", "4").end()
    assert status == 0, said
    return outputs.content(folder / "out")


def left_over(output: Path) -> list[str]:
    """Files that a finished output should not have."""
    kept = set(outputs.content(output)) | {"manifest.json", "config.yaml"}
    return [str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()
            and str(path.relative_to(output)) not in kept and not is_history(path.name)]  # fmt: skip


def no_faults(output: Path) -> None:
    if (output / "manifest.json").exists():
        report = verify.verify_output(str(output))
        assert not report.fault_count, verify_command.fault_lines(report)


def computed(lines: list[str]) -> tuple[list[str], list[str]]:
    """A run's log -> clips that it kept, and those that it decoded and did not keep."""
    words = [line.partition(" ")[::2] for line in lines]
    kept = [rest for word, rest in words if word == "kept"]
    return kept, [rest for word, rest in words if word == "clip" and rest not in kept]


def perhaps_kept(lines: list[str]) -> set[str]:
    """A run's log -> clips that it kept, or was killed while it wrote them: before or after they had their name."""
    return {line.partition(" ")[2] for line in lines if line.startswith("keeping ")}


def kill_and_resume(audio: Path, folder: Path, whole: dict[str, bytes], kills: int, seed: int) -> int:
    """Kills runs at seeded moments until it has killed so many; each that ends is compared. Returns clips lost."""
    rng = random.Random(seed)
    killed = lost = number = 0
    done: Counter[str] = Counter()
    perhaps: set[str] = set()
    while killed < kills or number == 0 or done:
        output = folder / f"out{number}"
        this = Run(folder / f"log{killed}-{number}", "--input", audio, "--output", output, *FOUR)
        lines, delay = rng.randrange(1, 2 * CLIPS), rng.uniform(0, 0.3)
        ended = killed == kills or not this.wait_for(lambda found, wanted=lines: len(found) >= wanted)
        if not ended:
            time.sleep(delay)
            status, said = this.signal(signal.SIGKILL)
            ended = status != -signal.SIGKILL
            killed += not ended
        if ended:
            status, said = this.end() if this.process.returncode is None else (this.process.returncode, "")
            assert status == 0, said
        no_faults(output)
        kept, wasted = computed(this.lines())
        assert not done.keys() & {*kept, *wasted}  # what was kept is not computed again
        done.update(kept)
        perhaps |= perhaps_kept(this.lines())
        lost += len(wasted)
        if ended:
            assert outputs.content(output) == whole
            assert not left_over(output)
            assert set(done) <= {path.stem for path in audio.iterdir()} == perhaps
            number, done, perhaps = number + 1, Counter(), set()
            if killed == kills:
                break
    return lost


@pytest.mark.ci
def test_killed_and_resumed_gives_the_same_bytes(
    audio: Path, tmp_path: Path, whole: dict[str, bytes], full: bool
) -> None:
    kills = 20 if full else 4
    lost = kill_and_resume(audio, tmp_path, whole, kills, seed=kills)
    assert lost <= kills * 20  # batches in flight, what decoders were ahead, and 50 ms


@pytest.mark.full
@pytest.mark.usefixtures("standin_weights")
def test_killed_with_the_network_itself(audio: Path, tmp_path: Path) -> None:
    assert embed(tmp_path / "whole", "--input", audio, "--num_shards", "4").status == 0
    command = [sys.executable, "-m", "pipeline.run", "--input", audio, "--output", tmp_path / "out", *FOUR]
    process = subprocess.Popen(
        [*map(str, command), "--checkpoint", "standin", "--pca_params", "standin"],
        cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not list((tmp_path / "out" / rows.ROWS).glob("*.rows")):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    no_faults(tmp_path / "out")
    assert embed(tmp_path / "out", "--input", audio, *FOUR).status == 0
    assert outputs.content(tmp_path / "out") == outputs.content(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.full) for each in OTHERS)])
def test_stopped_in_order(audio: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    output, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    this = Run(tmp_path / "log", "--input", audio, "--output", output, *FOUR)
    assert this.wait_for(lambda lines: any(line.startswith("kept") for line in lines))
    assert list(temporary.iterdir())
    status, said = this.signal(number)
    assert status == 128 + number
    assert re.fullmatch(r"\nStopped\. \d+ of 61 clips (is|are) kept: the same command continues\.\n", said), said
    assert not (output / "_state" / "lock.json").exists()
    assert not list(temporary.iterdir())
    assert not processes_of(this.process.pid)
    no_faults(output)


@pytest.mark.ci
def test_a_stopped_command_says_how_far_it_was(audio: Path, tmp_path: Path) -> None:
    this = Run(tmp_path / "log", "--input", audio, "--output", tmp_path / "out", "--progress", "auto", *FOUR)
    assert this.wait_for(lambda lines: any(line.startswith("kept") for line in lines))
    _, said = this.signal(signal.SIGINT)
    told = re.search(r"\nStopped\. (\d+) of 61 clips (?:is|are) kept: the same command continues\.\n$", said)
    assert told, said
    again = Run(tmp_path / "again", "--input", audio, "--output", tmp_path / "out", *FOUR)
    assert again.end()[0] == 0
    decoded = [line for line in again.lines() if line.startswith("clip ")]
    assert len(decoded) <= 61 - int(told[1])


@pytest.mark.ci
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_a_stopped_command_writes_what_is_embedded(
    audio: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row files are written once a minute here: without the writing at the end, none of this would be kept."""
    monkeypatch.setitem(OFTEN, "TEST_ROWS_SECONDS", "60")
    monkeypatch.setenv("TEST_NOTE_BATCHES", "1")
    output = tmp_path / "out"
    this = Run(tmp_path / "log", "--input", audio, "--output", output, *FOUR)
    assert this.wait_for(lambda lines: sum(line == "rows 2" for line in lines) >= 10)
    assert not list((output / rows.ROWS).glob("*.rows"))
    status, said = this.signal(number)
    assert status == 128 + number
    told = re.fullmatch(r"\nStopped\. (\d+) of 61 clips are kept: the same command continues\.\n", said)
    assert told, said
    embedded = sum(line == "rows 2" for line in this.lines()) * 2
    assert int(told[1]) >= embedded - 10  # a clip is one example; batches in flight are not kept
    assert not (output / "_state" / "lock.json").exists()
    no_faults(output)
    assert Run(tmp_path / "again", "--input", audio, "--output", output, *FOUR).end()[0] == 0


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips so long that decoders are always at one."""
    folder = tmp_path_factory.mktemp("busy")
    for clip in range(8):
        soundfile.write(folder / f"{clip}.flac", np.random.default_rng(clip).normal(0, 0.1, 50 * 44_100), 44_100)
    return folder


@pytest.fixture(scope="module")
def whole_of_busy(busy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The output of an uninterrupted run on them."""
    folder = tmp_path_factory.mktemp("whole of busy")
    status, said = Run(folder / "log", "--input", busy, *FOUR, "--output", folder / "out", example_s=0).end()
    assert status == 0, said
    return outputs.content(folder / "out")


@pytest.mark.ci
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.full)])
def test_a_stop_of_all_processes_fails_no_clip(
    busy: Path, tmp_path: Path, whole_of_busy: dict[str, bytes], number: int, full: bool
) -> None:
    """At seeded moments, decoders first: what they were at is decoded again, and is not said to have crashed them."""
    rng, flags = random.Random(number), ["--input", busy, *FOUR]
    for stop in range(12 if full else 2):
        output = tmp_path / f"out{stop}"
        this = Run(tmp_path / f"log{stop}", *flags, "--output", output, example_s=0)
        enough = rng.randrange(2, 6)
        assert this.wait_for(lambda lines, enough=enough: len(lines) >= enough)
        status, said = this.signal_each(number, 0.2 if number == signal.SIGTERM else 0.1)
        assert status == (-number if number == signal.SIGKILL else 128 + number), said
        status, said = Run(tmp_path / f"again{stop}", *flags, "--output", output, example_s=0).end()
        assert status == 0, said
        assert outputs.content(output) == whole_of_busy
        assert not left_over(output)


@pytest.mark.ci
def test_stopped_in_order_when_its_terminal_is_closed(audio: Path, tmp_path: Path) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "tests.interrupted_run", log, "--input", audio, "--output", output, *FOUR]
    process, terminal = pty.fork()
    if not process:
        os.chdir(REPOSITORY)
        os.execve(
            sys.executable, [str(item) for item in command], {**os.environ, **OFTEN, "TEST_EXAMPLE_SECONDS": "0.02"}
        )
    while "kept" not in (log.read_text() if log.exists() else ""):
        assert os.waitpid(process, os.WNOHANG) == (0, 0)
        time.sleep(0.005)
    os.close(terminal)
    _, ended = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(ended) == 128 + signal.SIGHUP
    assert not (output / "_state" / "lock.json").exists()
    no_faults(output)


@pytest.mark.ci
def test_of_two_runs_one_is_refused_until_the_first_is_dead(
    audio: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    output = tmp_path / "out"
    # Started together: neither knows of the other. One gets the lock; the other learns who has it.
    both = [Run(tmp_path / name, "--input", audio, "--output", output, *FOUR, example_s=2) for name in ("a", "b")]
    while all(this.process.poll() is None for this in both):
        time.sleep(0.02)
    refused = both[0] if both[0].process.poll() is not None else both[1]
    holder = both[1] if refused is both[0] else both[0]
    status, said = refused.end()
    assert status == 2
    assert f"is being written by process {holder.process.pid} on " in said
    assert holder.signal(signal.SIGKILL)[0] == -signal.SIGKILL
    status, said = Run(tmp_path / "c", "--input", audio, "--output", output, *FOUR, example_s=0).end()
    assert status == 0, said
    assert outputs.content(output) == whole
    assert not left_over(output)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Mounts a file system of its own on `tmp_path/disk`; the function that it gives remounts it with options."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=10m", "none", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")

    def remount(options: str) -> None:
        until = time.monotonic() + 300
        while True:
            done = subprocess.run(["mount", "-o", f"remount,{options}", place], capture_output=True, text=True)
            if not done.returncode:
                return
            assert time.monotonic() < until, done.stderr  # busy while a file is open for writing
            time.sleep(0.01)

    yield remount
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.ci
def test_a_disk_that_fills_up(
    audio: Path, tmp_path: Path, whole: dict[str, bytes], disk: Callable[[str], None]
) -> None:
    output = tmp_path / "disk" / "out"
    disk("size=48k")
    flags = ["--input", audio, "--output", output, *FOUR]
    status, said = Run(tmp_path / "log", *flags).end()
    assert status == 1
    assert "No space left on device" in said
    assert "run the same command again; it continues" in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 2  # what is wrong, what to do
    no_faults(output)
    disk("size=10m")
    status, said = Run(tmp_path / "log2", *flags).end()
    assert status == 0, said
    assert outputs.content(output) == whole
    assert not left_over(output)


@pytest.mark.full
def test_an_output_that_becomes_read_only(
    audio: Path, tmp_path: Path, whole: dict[str, bytes], disk: Callable[[str], None]
) -> None:
    output = tmp_path / "disk" / "out"
    flags = ["--input", audio, "--output", output, *FOUR]
    this = Run(tmp_path / "log", *flags, example_s=0.2)
    assert this.wait_for(lambda lines: any(line.startswith("kept") for line in lines))
    disk("ro")
    status, said = this.end()
    assert status == 1
    assert "Read-only file system" in said
    assert len(said.strip().splitlines()) == 2  # what is wrong, what to do
    no_faults(output)
    disk("rw")
    done_before = set(computed(this.lines())[0])
    assert done_before
    again = Run(tmp_path / "log2", *flags)
    status, said = again.end()
    assert status == 0, said
    assert not done_before & set(computed(again.lines())[0])
    assert outputs.content(output) == whole
    assert not left_over(output)


def test_a_store_whose_every_third_call_fails(
    audio: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from itertools import cycle

    from pipeline import run as command
    from pipeline.storage import errors
    from tests.memory_store import MemoryStore

    for owner, name, value in interrupted_run.replacements(lambda line: None):
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr(errors, "FIRST_PAUSE_S", 0.0)
    MemoryStore.reset()
    MemoryStore.failing = cycle((200, 200, 503))
    flags = ["--input", str(audio), "--output", "memory://bucket/out", "--num_shards", "4", "--max_failures", "1"]
    assert command.main([*interrupted_run.FLAGS, *flags]) == 0
    found = {name.partition("/out/")[2]: data for name, (data, _) in MemoryStore.objects.items()}
    for name in ("manifest.json", "config.yaml"):
        found.pop(name)
    assert {name: data for name, data in found.items() if not is_history(name.removeprefix("_state/"))} == whole
    assert len(MemoryStore.calls) > 100
    MemoryStore.reset()


def test_too_many_failures_are_an_error_after_all_is_written(audio: Path, tmp_path: Path, embed_here: Embed) -> None:
    done = embed_here(tmp_path / "out", "--input", audio, "--max_failures", "0")
    assert done.status == 1
    assert "1 of 61 clips failed, more than --max_failures 0 (0)" in done.err
    assert f"  1 not_audio: {audio}/broken.wav: " in done.err
    assert len(list((tmp_path / "out").glob("embeddings-*"))) == 1
    no_faults(tmp_path / "out")
