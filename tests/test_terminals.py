"""Work that is done has status 0, whatever the standard streams are; and commands run in bare surroundings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests import command
from tests.command import REPOSITORY, STANDIN
from tests.test_train import CLASSES, write_records

NAME = "a×é"
FAULTS = ("closed", "full", "reader gone", "ASCII")
STREAMS = ("stdin", "stdout", "stderr")
PROGRAMS = ("run", "verify", "report", "train", "export", "reshard", "duplicates", "fad", "search")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, its embeddings, and records to train with."""
    folder = tmp_path_factory.mktemp("terminals")
    soundfile.write(folder / f"{NAME}.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    found = command.embed(folder / "out", "--input", folder / "*.wav")
    assert found.status == 0, found.err
    (folder / "classes.csv").write_text(CLASSES)
    write_records(folder / "train.tfrecord", 40, 1)
    write_records(folder / "eval.tfrecord", 40, 2)
    return folder


def arguments(program: str, folder: Path, model: Path) -> list[str]:
    records = f"{folder}/train.tfrecord"
    train = ["--train", records, "--eval", f"{folder}/eval.tfrecord", "--classes", f"{folder}/classes.csv"]
    return {
        "run": ["--input", f"{folder}/*.wav", "--output", f"{folder}/out", *STANDIN, "--report", "off"],
        "verify": [f"{folder}/out"],
        "report": [f"{folder}/out", "--to", f"{model}.html"],
        "train": [*train, "--model", str(model), "--classifier", "logistic", "--epochs", "1", "--validation", "0.2"],
        "export": [f"{folder}/out", "--to", "npz", f"{model}.npz"],
        "reshard": [f"{folder}/out", "--num_shards", "1"],
        "duplicates": [records, "--csv", f"{model}.csv"],
        "fad": [records, records, "--json", f"{model}.json"],
        "search": [records, "--like", "1-0", "--index", f"{model} index", "--build"],
    }[program]


@contextmanager
def faulty(fault: str) -> Iterator[int]:
    """A descriptor to write to, in vain."""
    with ExitStack() as stack:
        if fault == "full":
            number = os.open("/dev/full", os.O_WRONLY)
        else:
            reader, number = os.pipe()
            os.close(reader)
        stack.callback(os.close, number)
        yield number


def run(
    words: Sequence[str], streams: Sequence[str], fault: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A program with a fault of some of its standard streams."""
    numbers = {"stdin": 0, "stdout": 1, "stderr": 2}
    pipes: dict[str, int] = dict.fromkeys(STREAMS, subprocess.DEVNULL)
    pipes.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    closing = "".join(f" {numbers[stream]}>&-" for stream in streams) if fault == "closed" else ""
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"} if fault == "ASCII" else {}
    with ExitStack() as stack:
        if fault in ("full", "reader gone"):
            pipes.update({stream: stack.enter_context(faulty(fault)) for stream in streams})
        return subprocess.run(
            ["sh", "-c", f'exec "$@"{closing}', "sh", sys.executable, *words],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **ascii_only},
            text=True,
            check=False,
            timeout=command.HANG_S,
            **pipes,  # type: ignore[call-overload]
        )


def check(program: str, streams: Sequence[str], fault: str, folder: Path, model: Path) -> None:
    found = run(["-m", f"pipeline.{program}", *arguments(program, folder, model)], streams, fault)
    # What search finds is nowhere else; the others have written a file.
    lost = program == "search" and "stdout" in streams and fault in ("full", "reader gone")
    assert found.returncode == int(lost), (program, streams, fault, found.stdout, found.stderr)
    assert "Traceback" not in (found.stderr or "")
    if program == "train":
        assert (model / "model.keras").exists()
    if program == "run" and "stdout" in streams and fault in ("full", "reader gone"):
        assert "1 clip: 1 written" in (folder / "out" / "_state" / "unprinted.log").read_text()


@pytest.mark.ci
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("program", ["run", "verify"])
def test_work_that_is_done_has_status_0(program: str, fault: str, done: Path, tmp_path: Path) -> None:
    check(program, STREAMS, fault, done, tmp_path / "model")


@pytest.mark.full
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_stream_of_each_program(program: str, stream: str, fault: str, done: Path, tmp_path: Path) -> None:
    check(program, [stream], fault, done, tmp_path / "model")


STREAM_PROGRAM = """
import sys
from pipeline.cli.console import ending
def program():
    print("said", file=sys.stderr)
    for line in range(10_000):
        print("printed ×", line)
    open(sys.argv[1], "w").write(sys.stdin.read())
    return 3
ending.run(program)
"""


CASES = [
    pytest.param(streams, fault, id=f"{' '.join(streams)} {fault}")
    for streams in (*((stream,) for stream in STREAMS), STREAMS)
    for fault in FAULTS
    if not (fault == "full" and "stdin" in streams)  # nobody reads from /dev/full
]


@pytest.mark.parametrize(("streams", "fault"), CASES)
def test_a_process_with_faulty_streams_ends_as_it_wants(streams: tuple[str, ...], fault: str, tmp_path: Path) -> None:
    found = run(["-c", STREAM_PROGRAM, str(tmp_path / "file")], streams, fault)
    if fault == "reader gone" and "stdin" in streams:  # an end of a pipe that is written to cannot be read
        assert found.returncode == 1
    else:
        assert found.returncode == 3, found.stderr
        assert (tmp_path / "file").read_text() == ""  # nothing that was printed got into it
    if "stdout" not in streams:
        assert found.stdout.count("\n") == 10_000


# Surroundings.


AS_NOBODY = ["unshare", "--user", "--map-user=54321"]
"""An id without an entry in passwd, whose files are this user's."""
SURROUNDINGS: dict[str, tuple[list[str], dict[str, str]]] = {
    "an empty environment": ([], {}),
    "24 files": (["sh", "-c", 'ulimit -n 24; exec "$@"', "sh"], {}),
    "one processor": (["taskset", "-c", "0"], {}),
    "the C locale": ([], {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "no user": (AS_NOBODY, {}),
}


@pytest.mark.ci
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full if "proc" in name else ()) for name in SURROUNDINGS]
)
def test_bare_surroundings(name: str, done: Path, tmp_path: Path) -> None:
    prefix, environment = SURROUNDINGS[name]
    if prefix and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"{prefix[0]} is not possible here")
    output = tmp_path / "out é"
    flags = ["--input", str(done / "*.wav"), "--output", str(output), *STANDIN, "--report", "off"]
    found = subprocess.run(
        [*prefix, sys.executable, "-O", "-m", "pipeline.run", *flags],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "VGGISH_CACHE": os.environ["VGGISH_CACHE"],
            "NO_GCE_CHECK": "true",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=command.HANG_S,
    )
    assert found.returncode == 0, found.stderr
    assert command.shard_bytes(output) == command.shard_bytes(done / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out é"}


def test_a_user_without_a_home_learns_which_folder_to_name(tmp_path: Path) -> None:
    if subprocess.run([*AS_NOBODY, "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare is not possible here")
    found = subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", "from vggish_core import cache; print(cache.cache_directory())"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"{tmp_path}/vggish-cache\n"
    assert "set VGGISH_CACHE to a folder that lasts" in found.stderr
