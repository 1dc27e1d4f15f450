"""The command end to end: audio in, AudioSet records out, with the stand-in weights. As a process once a way to run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline import run as program
from tests.command import STANDIN, Done, embed, failures, manifest, run, shard_bytes

pytestmark = pytest.mark.usefixtures("standin_weights")
CLIPS = 20
RATE = 44_100
Here = Callable[..., Done]


@pytest.fixture
def here(decoders_stay: None, capfd: pytest.CaptureFixture[str]) -> Here:
    """The command in this process, with the network itself: (output, flags...) -> how it ended."""

    def embed(output: Path, *flags: str | Path) -> Done:
        capfd.readouterr()
        status = program.main(["--output", str(output), *STANDIN, "--report", "off", *map(str, flags)])
        return Done(status, *capfd.readouterr())

    return embed


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 5 s in folders whose names hold spaces."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(CLIPS):
        path = folder / f"{number % 4:03d} - some kind" / f"{number}-a.ogg"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 5 * RATE), RATE)
    return folder


@pytest.fixture(scope="module")
def embedded(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("embedded") / "out"
    done = embed(output, "--input", f"{corpus}/**", "--num_shards", "3")
    assert done.status == 0, done.err
    return output


def test_every_clip_has_its_record(corpus: Path, embedded: Path) -> None:
    import tensorflow as tf

    ids, files = [], sorted(map(str, embedded.glob("embeddings-*-of-00003.tfrecord")))
    assert len(files) == 3
    for raw in tf.data.TFRecordDataset(files):
        context, sequences = tf.io.parse_single_sequence_example(
            raw,
            {
                "video_id": tf.io.FixedLenFeature([], tf.string),
                "start_time_seconds": tf.io.FixedLenFeature([], tf.float32),
                "end_time_seconds": tf.io.FixedLenFeature([], tf.float32),
                "labels": tf.io.VarLenFeature(tf.int64),
            },
            {"audio_embedding": tf.io.FixedLenSequenceFeature([], tf.string)},
        )
        assert tf.io.decode_raw(sequences["audio_embedding"], tf.uint8).shape == (5, 128)
        assert float(context["start_time_seconds"]) == 0
        assert float(context["end_time_seconds"]) == pytest.approx(5, abs=0.1)
        ids.append(context["video_id"].numpy().decode())
    assert sorted(ids) == sorted(str(path.relative_to(corpus).with_suffix("")) for path in corpus.glob("*/*.ogg"))


def test_the_manifest_accounts_for_all(embedded: Path) -> None:
    totals = manifest(embedded)["totals"]
    assert (totals["clips_in"], totals["written"], totals["failed"], totals["skipped"]) == (CLIPS, CLIPS, 0, 0)
    assert totals["examples"] == 5 * CLIPS
    assert (embedded / "failures.jsonl").read_text() == ""
    assert "standin" in json.dumps(manifest(embedded))


def test_verify_finds_no_fault(embedded: Path) -> None:
    done = run("pipeline.verify", embedded)
    assert done.status == 0, done.out + done.err


@pytest.fixture
def shuffled(corpus: Path, tmp_path: Path) -> Path:
    """A list of the clips in another order."""
    paths = sorted(corpus.rglob("*.ogg"))
    random.Random(7).shuffle(paths)
    rows = [{"uri": str(path), "id": str(path.relative_to(corpus).with_suffix(""))} for path in paths]
    listing = tmp_path / "list.jsonl"
    listing.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return listing


@pytest.mark.ci
def test_order_and_worker_processes_change_no_byte(shuffled: Path, embedded: Path, tmp_path: Path) -> None:
    workers = ["--direct_running_mode", "multi_processing", "--direct_num_workers", "2"]
    done = embed(tmp_path / "out", "--manifest", shuffled, "--num_shards", "3", *workers)
    assert done.status == 0, done.err
    assert shard_bytes(tmp_path / "out") == shard_bytes(embedded)


def test_order_and_threads_change_no_byte(shuffled: Path, embedded: Path, tmp_path: Path, here: Here) -> None:
    workers = ["--direct_running_mode", "multi_threading", "--direct_num_workers", "2"]
    flags = ["--manifest", shuffled, "--num_shards", "3", "--threads", "1", "--decoders", "3"]
    done = here(tmp_path / "out", *flags, *workers)
    assert done.status == 0, done.err
    assert shard_bytes(tmp_path / "out") == shard_bytes(embedded)


def test_a_second_run_has_nothing_to_do(corpus: Path, embedded: Path, here: Here) -> None:
    before = shard_bytes(embedded)
    done = here(embedded, "--input", f"{corpus}/**", "--num_shards", "3")
    assert done.status == 0, done.err
    assert shard_bytes(embedded) == before


def test_other_settings_are_refused_and_overwrite_leaves_no_stale_shard(
    corpus: Path, embedded: Path, tmp_path: Path, here: Here
) -> None:
    output = tmp_path / "out"
    shutil.copytree(embedded, output)
    some = f"{corpus}/001 - some kind/**"
    refused = here(output, "--input", some, "--num_shards", "2", "--hop_seconds", "0.48")
    assert refused.status == 2
    assert "hop_seconds" in refused.err
    assert "--overwrite" in refused.err
    assert shard_bytes(output) == shard_bytes(embedded)
    done = here(output, "--input", some, "--num_shards", "2", "--hop_seconds", "0.48", "--overwrite")
    assert done.status == 0, done.err
    assert sorted(shard_bytes(output)) == [f"embeddings-0000{i}-of-00002.tfrecord" for i in range(2)]
    assert manifest(output)["totals"]["examples"] == CLIPS // 4 * 9


def test_bad_inputs_cost_nobody_else_and_have_their_own_reasons(tmp_path: Path, here: Here) -> None:
    audio = tmp_path / "audio"
    (audio / "folder.wav").mkdir(parents=True)
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * 16000)
    soundfile.write(audio / "good.wav", noise, 16000)
    soundfile.write(audio / ".hidden.wav", noise, 16000)
    soundfile.write(audio / "short.wav", noise[: round(0.96 * 16000)], 16000)
    soundfile.write(audio / "header.wav", noise[:0], 16000)
    soundfile.write(audio / "whole.flac", noise, 16000)
    whole = (audio / "whole.flac").read_bytes()
    (audio / "truncated.flac").write_bytes(whole[: len(whole) // 2])
    (audio / "empty.wav").write_bytes(b"")
    (audio / "text.wav").write_text("This is no audio, whatever its name says.\n" * 20)
    soundfile.write(audio / "four.wav", noise[:4], 16000)
    output = tmp_path / "out"
    done = here(output, "--input", f"{audio}/**", "--max_failures", "90%")
    assert done.status == 0, done.err
    expected = {
        "short": "too_short",
        "header": "no_samples",
        "truncated": "truncated",
        "empty": "empty",
        "text": "not_audio",
        "four": "too_short",
    }
    assert {name: line["reason"] for name, line in failures(output).items()} == expected
    totals = manifest(output)["totals"]
    assert (totals["clips_in"], totals["written"], totals["failed"], totals["skipped"]) == (8, 2, 4, 2)
    for reason in set(expected.values()):
        assert reason in done.out


@pytest.mark.ci
def test_a_file_that_may_not_be_read_is_one_failure(tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    soundfile.write(audio / "good.wav", np.zeros(32000), 16000)
    soundfile.write(audio / "secret.wav", np.zeros(32000), 16000)
    (audio / "secret.wav").chmod(0)
    bound: tuple[str, ...] = ()
    if os.geteuid() == 0:  # permissions bind root too, without the capabilities to pass them over
        if shutil.which("setpriv") is None:
            pytest.skip("permissions do not bind root, and there is no setpriv to make them")
        bound = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    done = embed(tmp_path / "out", "--input", f"{audio}/**", "--max_failures", "1", prefix=bound)
    assert done.status == 0, done.err
    assert {name: line["reason"] for name, line in failures(tmp_path / "out").items()} == {"secret": "unreadable"}
    assert manifest(tmp_path / "out")["totals"]["written"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "{tmp}/nothing/**"], ["--input", "nothing"]),
        (["--input", "{tmp}/two/**"], ["one.flac", "one.wav", "id"]),
        (["--input", "{tmp}/one.wav", "--checkpoint", "{tmp}/gone.ckpt"], ["--checkpoint", "gone.ckpt"]),
        (["--input", "{tmp}/one.wav", "--pca_params", "{tmp}/small.npz"], ["--pca_params", "small.npz", "[128, 128]"]),
        (["--input", "{tmp}/one.wav", "--checkpoint", "{tmp}/lacking.ckpt"], ["vggish/fc2/biases", "lacking.ckpt"]),
        (["--input", "{tmp}/one.wav", "--runner", "FlinkRuner"], ["--runner", "FlinkRunner"]),
        (["--input", "{tmp}/one.wav", "--hop_second", "1"], ["--hop_second", "--hop_seconds"]),
    ],
    ids=["no match", "one id twice", "no checkpoint", "pca shape", "variable missing", "runner", "misspelt"],
)
def test_what_cannot_be_run_is_refused_before_the_run(
    bad_files: Path, tmp_path: Path, arguments: list[str], words: list[str], here: Here
) -> None:
    done = here(tmp_path / "out", *(argument.format(tmp=bad_files) for argument in arguments))
    assert done.status == 2, done.out + done.err
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.fixture(scope="module")
def bad_files(standin_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from vggish_core.network.checkpoints import read_variables, write_checkpoint

    folder = tmp_path_factory.mktemp("bad")
    soundfile.write(folder / "one.wav", np.zeros(32000), 16000)
    (folder / "two").mkdir()
    soundfile.write(folder / "two" / "one.wav", np.zeros(32000), 16000)
    soundfile.write(folder / "two" / "one.flac", np.zeros(32000), 16000)
    np.savez(folder / "small.npz", pca_eigen_vectors=np.zeros((64, 128)), pca_means=np.zeros(128))
    variables = read_variables(standin_weights / "vggish_model.ckpt")
    del variables["vggish/fc2/biases"]
    write_checkpoint(folder / "lacking.ckpt", variables)
    return folder


def test_a_rerun_with_nothing_to_do_loads_neither_beam_nor_the_network(
    corpus: Path, tmp_path: Path, here: Here
) -> None:
    """Nor is its report drawn again, unless something has changed."""
    program = (
        "import sys\n"
        "from pipeline.cli import run\n"
        "status = run.main(sys.argv[1:])\n"
        "heavy = {'apache_beam', 'tensorflow', 'matplotlib', 'jinja2', 'av', 'soundfile', 'google.cloud.storage'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "sys.exit(status)"
    )
    output, audio = tmp_path / "out", corpus / "001 - some kind"
    report = output / "report.html"
    assert here(output, "--input", audio, "--report", "on").status == 0
    before = report.stat().st_mtime_ns
    command = [sys.executable, "-c", program, "--input", str(audio), "--output", str(output), *STANDIN]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "[]"
    assert report.stat().st_mtime_ns == before
    assert here(output, "--input", f"{corpus}/00[12]*/**", "--report", "on").status == 0
    assert report.stat().st_mtime_ns > before
    report.unlink()
    assert here(output, "--input", f"{corpus}/00[12]*/**", "--report", "on").status == 0
    assert report.exists()
