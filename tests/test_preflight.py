"""An engine that is not there or not ready is found before any work begins: what is wrong, what to do, status 2."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import run
from pipeline.errors import FlagError
from pipeline.running.engines import first_job, preflight, runners, worker_check
from pipeline.settings import Model
from tests.command import STANDIN
from vggish_core.network.gpus import gpu


def look(runner: str, *flags: str) -> None:
    preflight.look(runners.choose(runner, flags))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "ANSWER_S", 1.0)


@pytest.fixture
def flink() -> Iterator[dict[str, object]]:
    """A Flink cluster's description of itself; its address is under "address"."""
    overview: dict[str, object] = {"taskmanagers": 2, "slots-total": 4, "flink-version": "2.2.1"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/overview" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(overview).encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        overview["address"] = f"localhost:{server.server_port}"
        yield overview
        server.shutdown()
        thread.join()


NOBODY = "localhost:9"
POOL = ("--environment_type", "EXTERNAL", "--environment_config", "far.example:50000")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("PortableRunner",), r"has no --job_endpoint.*HOST:PORT"),
        (("PortableRunner", "--job_endpoint", NOBODY), r"--job_endpoint localhost:9: no job service answers"),
        (("PrismRunner",), r"has no --prism_location.*go install \S+/cmd/prism@v2"),
        (("PrismRunner", "--prism_location", "/no/prism"), r"/no/prism: there is no such file.*go install"),
        (("PrismRunner", "--prism_location", __file__), r"is not a program.*chmod \+x"),
        (("FlinkRunner", "--flink_master", NOBODY, *POOL), r"--flink_master localhost:9: no Flink answers there"),
        (("FlinkRunner", "--job_server_java_launcher", "no-java"), r"needs Java, and there is no no-java"),
    ],
)
def test_an_engine_that_is_not_there(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(FlagError, match=message):
        look(*flags)


def test_the_command_says_it_in_two_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--runner", "PortableRunner", "--job_endpoint", NOBODY, "--input", str(tmp_path)]
    status = run.main([*flags, "--output", str(tmp_path / "out"), *STANDIN, "--progress", "off"])
    first, second = capfd.readouterr().err.splitlines()
    assert status == 2
    assert first.startswith("error: --job_endpoint localhost:9: no job service answers there")
    assert second.startswith("  Start it, or correct the address")
    assert not (tmp_path / "out").exists()


def test_flink_clusters(flink: dict[str, object], tmp_path: Path) -> None:
    jar = tmp_path / "job-server.jar"
    jar.write_bytes(b"")
    java = ("--job_server_java_launcher", "sh")  # found on PATH; it is not started
    flags = ("FlinkRunner", "--flink_master", str(flink["address"]), "--flink_job_server_jar", str(jar), *java, *POOL)
    look(*flags)
    jar.unlink()
    with pytest.raises(FlagError, match=r"--flink_job_server_jar .*job-server\.jar: there is no such file.*Maven"):
        look(*flags)
    flink["flink-version"] = "1.20.3"
    with pytest.raises(FlagError, match=r"runs Flink 1\.20\.3, Beam's job server is for 2\.2.*--flink_version 1\.20"):
        look(*flags)
    flink["taskmanagers"] = 0
    with pytest.raises(FlagError, match="no task managers"):
        look(*flags)
    del flink["flink-version"]
    with pytest.raises(FlagError, match="no Flink answers"):
        look(*flags)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ((), r"Beam's own image, which lacks this package.*EXTERNAL"),
        (("--environment_type", "EXTERNAL"), r"EXTERNAL has no --environment_config.*HOST:PORT"),
        (("--environment_type", "PROCESS"), r"\(none\) names no command"),
        (("--environment_type", "PROCESS", "--environment_config", "boot"), r"boot names no command"),
    ],
)
def test_workers_that_nobody_named(flink: dict[str, object], environment: tuple[str, ...], message: str) -> None:
    flags = ("--flink_master", str(flink["address"]), "--job_server_java_launcher", "sh")
    with pytest.raises(FlagError, match=message):
        look("FlinkRunner", *flags, *environment)


def test_a_worker_pool_of_this_machine_that_does_not_listen(tmp_path: Path) -> None:
    prism = tmp_path / "prism"
    prism.touch(0o755)
    flags = ("--prism_location", str(prism), "--environment_type", "EXTERNAL", "--environment_config", NOBODY)
    with pytest.raises(FlagError, match=r"localhost:9: no worker pool listens there.*worker_pool_main"):
        look("PrismRunner", *flags)


@pytest.fixture
def question(standin_weights: Path, tmp_path: Path) -> dict[str, object]:
    audio = tmp_path / "a.wav"
    audio.touch()
    return worker_check.asked(Model("standin", "standin"), [str(audio)])


def test_a_worker_like_the_submitter_is_fit(question: dict[str, object], tmp_path: Path) -> None:
    uri = str(tmp_path / "state" / "worker.json")
    worker_check.answer(b"", question, uri)
    line = worker_check.described(json.loads(Path(uri).read_text()))
    assert line.endswith("ready")
    question["versions"] = {**worker_check.asked(Model("standin", "standin"), [])["versions"], "numpy": "1.0"}
    assert worker_check.unfit(question) == ""  # which versions worked is reported, not judged


def test_every_source_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest that submitter and worker compare changes with a file changed, moved or added at any depth."""
    paths = ("pipeline/corpus/plan.py", "pipeline/decoding/segment_decoder.py", "vggish_core/network/model.py")
    for name in paths:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("pass\n")
    monkeypatch.setattr(worker_check, "PACKAGES", tmp_path)
    seen = {(digest := worker_check.code_sha256.__wrapped__)()}
    for name in paths:
        (tmp_path / name).write_text("pass  # changed here\n")
        seen.add(digest())
    (tmp_path / "pipeline" / "corpus" / "plan.py").rename(tmp_path / "pipeline" / "decoding" / "plan.py")
    seen.add(digest())
    assert len(seen) == len(paths) + 2
    (tmp_path / "pipeline" / "notes.txt").write_text("no code")
    assert digest() in seen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"versions": {"python": "3.7.1"}}, r"Python 3\.1\d.*, the submitter's is 3\.7\.1\. Use Python 3\.7 on both"),
        ({"versions": {"vggish-pipeline": "9.9"}}, r"vggish-pipeline \S+, the submitter has 9\.9\. Install"),
        ({"versions": {"apache-beam": "9.9"}}, r"apache-beam \S+, the submitter has 9\.9\. Install"),
        ({"code": "0"}, r"the code of this package in .*pipeline differs from the submitter's, of the same version"),
        ({"model": {"checkpoint": "/no/model.ckpt"}}, r"checkpoint /no/model\.ckpt does not exist.*same path on each"),
        ({"model": {"pca_sha256": "0" * 64}}, r"pca_params standin is not the file that was asked for"),
        pytest.param(
            {"model": {"precision": "bfloat16"}},
            r"--precision bfloat16: TensorFlow sees no GPU here\. Use float32: on processors bfloat16 is no faster\.",
            marks=pytest.mark.skipif(bool(gpu()), reason="there is a GPU"),
        ),
        ({"inputs": ["/no/a.wav"]}, r"the input /no/a\.wav is not there\. Put the audio where all workers see it"),
    ],
)
def test_a_worker_that_differs_is_unfit(question: dict[str, object], change: dict[str, object], message: str) -> None:
    for name, value in change.items():
        before = question[name]
        question[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    with pytest.raises(worker_check.UnfitWorkerError, match=message):
        worker_check.answer(b"", question, "/no/where.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Traceback …\npipeline.engines.worker_check.UnfitWorkerError: worker h (p): x. Do y. [while running 'A']",
            "^worker h",
        ),
        ("ModuleNotFoundError: No module named 'pipeline'", r"lack this package: no module pipeline there.*Install"),
        ("No module named 'pipeline.running.engines.worker_check'", "or another version of it"),
        ("KeyError: 'beam:env:process:v1'", r"cannot start PROCESS workers.*harness_subprocess_python"),
        ("boom", r"could not do a first, small job: boom"),
    ],
)
def test_what_an_engine_says_of_its_workers_is_reported_plainly(text: str, message: str) -> None:
    engine = runners.Engine("PortableRunner", (), False, 1, "EXTERNAL")
    with pytest.raises(FlagError, match=message):
        raise first_job._unfit(engine, text)
