"""The package where nobody has developed it: built, installed into an empty environment, run; the workers' image."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.cli.beam import flex_template
from pipeline.running.engines import template
from tests import command
from tests.command import REPOSITORY, STANDIN

DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"
TEMPLATE_DOCKERFILE = REPOSITORY / "docker" / "flex-template.Dockerfile"
DATA = ["pipeline/py.typed", "vggish_core/py.typed"]
DATA += [f"pipeline/reporting/page.{kind}" for kind in ("css", "html", "js")]
"""Files that are not Python, and are needed."""


@dataclass(frozen=True)
class Step:
    """An instruction of a container file."""

    name: str
    text: str


def steps(file: Path = DOCKERFILE) -> list[Step]:
    """The instructions of a container file, continued lines joined."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [Step(*line.split(maxsplit=1)) for line in joined if line.strip()]


def defaults() -> dict[str, str]:
    """The arguments that an image is built with if none are given."""
    return dict(step.text.split("=") for step in steps() if step.name == "ARG")


def copied_to(root: Path) -> None:
    """The files that COPY copies, below another root."""
    for step in steps():
        if step.name == "COPY":
            *sources, target = step.text.split()
            for source in sources:
                place = root / target.lstrip("/")
                if (REPOSITORY / source).is_dir():
                    shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.mkdir(parents=True, exist_ok=True)
                    shutil.copy(REPOSITORY / source, place)


def test_the_image_is_of_the_beam_that_is_tested() -> None:
    arguments = defaults()
    assert arguments["BEAM"] == importlib.metadata.version("apache-beam")
    constraints = (REPOSITORY / "constraints.txt").read_text()
    assert f"apache-beam=={arguments['BEAM']}\n" in constraints
    (base,) = [step.text for step in steps() if step.name == "FROM"]
    assert base == "apache/beam_python${PYTHON}_sdk:${BEAM}"
    # Beam's boot program stays what starts; nothing of a model is copied.
    assert {step.name for step in steps()} == {"ARG", "FROM", "COPY", "RUN", "ENV"}


@pytest.mark.parametrize("file", [DOCKERFILE, TEMPLATE_DOCKERFILE], ids=lambda file: file.name)
def test_the_images_pass_a_linter(file: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not published for this system")
    done = subprocess.run([hadolint, file], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_launchers_image_names_what_it_starts_as_the_code_does() -> None:
    (variables,) = [step.text for step in steps(TEMPLATE_DOCKERFILE) if step.name == "ENV"]
    copies = [step.text.split() for step in steps(TEMPLATE_DOCKERFILE) if step.name == "COPY"]
    (entry,) = [target for *sources, target in copies if sources == ["docker/flex_template.py"]]
    named = dict(variable.split("=") for variable in variables.split())
    assert named == {template.LAUNCHER: entry, flex_template.IMAGE: "${IMAGE}"}


def test_tensorflow_with_cuda_is_of_the_version_that_is_tested() -> None:
    (swap,) = [step.text for step in steps() if "uninstall" in step.text]
    expression = swap[swap.index("$(") + 2 : swap.rindex(")")]
    script = expression.replace("/opt/vggish/constraints.txt", str(REPOSITORY / "constraints.txt"))
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert shown == importlib.metadata.version("tensorflow-cpu")
    assert f"tensorflow[and-cuda]=={shown}" in (REPOSITORY / "docs/cost.md").read_text()


def test_docker_is_given_what_the_image_takes_and_no_more() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    given = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = [step.text for file in (DOCKERFILE, TEMPLATE_DOCKERFILE) for step in steps(file) if step.name == "COPY"]
    taken = {source for text in copies if "--from=" not in text for source in text.split()[:-1]}
    assert "*" in lines
    assert given == taken


@dataclass(frozen=True)
class Environment:
    """An environment that nothing but this package and what it needs is in, and an empty folder to work in."""

    python: Path
    folder: Path

    def run(self, *arguments: str | Path, status: int = 0) -> str:
        """`python ARGUMENTS` in the folder -> what it printed; the test fails if its exit status is another."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        words = [str(self.python), *map(str, arguments)]
        done = subprocess.run(words, cwd=self.folder, env=variables, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the image's own steps were carried out."""
    root = tmp_path_factory.mktemp("image")
    venv.create(root / "environment", with_pip=True)
    copied_to(root)
    (root / "work").mkdir()
    python = root / "environment" / "bin" / "python"
    path = f"{python.parent}:{os.environ['PATH']}"
    for step in steps():
        if step.name == "RUN":
            text = re.sub(r"(?<![^\s\"])/(opt|var)/", rf"{root}/\1/", step.text)
            variables = {**os.environ, **defaults(), "PATH": path}
            done = subprocess.run(["sh", "-c", text], cwd=root / "work", env=variables, capture_output=True, text=True)
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return Environment(python, root / "work")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist that `python -m build` makes of a clean copy."""
    root = tmp_path_factory.mktemp("build")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("pipeline", "vggish_core"):
        shutil.copytree(REPOSITORY / name, root / "source" / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, root / "source")
    installer = ["--installer", "uv"] if find_spec("uv") else []  # which takes a third of pip's time
    build = [sys.executable, "-m", "build", *installer, "--outdir", root / "dist", root / "source"]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "dist"


def package(folder: Path, suffix: str) -> Path:
    (found,) = folder.glob(f"vggish_pipeline-*{suffix}")
    return found


def install(environment: Environment, archive: Path) -> None:
    """Installs an archive, its dependencies being there."""
    environment.run("-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", archive)


def check(environment: Environment, name: str) -> Path:
    """Runs a job with the installed package, from an empty folder -> its output."""
    where = environment.run("-c", "import pipeline; print(pipeline.__file__)")
    assert where.startswith(str(environment.python.parents[1]))
    assert "--input" in environment.run("-m", "pipeline.run", "--help")
    work = Path(tempfile.mkdtemp(prefix=name, dir=environment.folder))  # sdists share a name
    soundfile.write(work / "clip.wav", np.random.default_rng(0).normal(0, 0.1, 48000), 16000)
    printed = environment.run("-m", "pipeline.run", "--input", work / "clip.wav", "--output", work / "out", *STANDIN)
    assert "1 clip: 1 written, 0 failed, 0 skipped" in printed
    return work / "out"


def bare(folder: Path) -> Environment:
    """An environment without any package, not even pip."""
    venv.create(folder / "environment", with_pip=False)
    return Environment(folder / "environment" / "bin" / "python", folder)


def uv_install(environment: Environment, *arguments: str | Path) -> None:
    """`uv pip install ARGUMENTS` into an environment: from its cache, if they were fetched before."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("there is no uv, which installs what was fetched before: make install gets it")
    words = [uv, "pip", "install", "--python", environment.python, *arguments]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.ci
def test_a_wheel_without_extras_runs_a_local_job_and_the_report_is_an_extra(built: Path, tmp_path: Path) -> None:
    environment = bare(tmp_path)
    tested = ["--constraint", REPOSITORY / "constraints.txt"]
    uv_install(environment, *tested, package(built, ".whl"))
    output = check(environment, "wheel")
    assert not (output / "report.html").exists()
    flags = ["--input", "gs://a/b", "--output", "out", *STANDIN, "--progress", "off"]
    told = environment.run("-m", "pipeline.run", *flags, status=2)
    assert re.match(r"error: --input: reading gs:// needs .*\n  .*'vggish-pipeline\[gcp\]'\.\n$", told)
    uv_install(environment, *tested, f"{package(built, '.whl')}[report]")
    environment.run("-m", "pipeline.report", output)
    assert (output / "report.html").stat().st_size > 10_000


@pytest.mark.full
@pytest.mark.parametrize("end", ["lowest-direct", "highest"])
def test_the_ends_of_the_versions_that_are_allowed(built: Path, tmp_path: Path, end: str) -> None:
    """A job runs with the lowest and the highest versions that are allowed, and writes the same bytes."""
    environment = bare(tmp_path)
    requirements = ["--requirements", REPOSITORY / "pyproject.toml"]
    uv_install(environment, "--only-binary", ":all:", "--resolution", end, *requirements)
    uv_install(environment, "--no-deps", package(built, ".whl"))
    output = check(environment, end)
    here = tmp_path / "here"
    done = command.embed(here, "--input", output.parent / "clip.wav")
    assert done.status == 0, done.err
    assert command.shard_bytes(output) == command.shard_bytes(here)


@pytest.mark.full
def test_wheel_and_sdist_run_in_an_empty_environment(empty: Environment, built: Path) -> None:
    with zipfile.ZipFile(package(built, ".whl")) as wheel:
        names = set(wheel.namelist())
    assert names >= {*DATA, "pipeline/run.py", "vggish_core/network/model.py"}
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "examples"))]
    with tarfile.open(package(built, ".tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names >= {*DATA, "setup.py", "pyproject.toml", "README.md"}
    for suffix in (".whl", ".tar.gz"):
        install(empty, package(built, suffix))
        check(empty, suffix)


@pytest.mark.full
def test_setup_file_makes_a_package_that_workers_can_install(empty: Environment, tmp_path: Path) -> None:
    from apache_beam.runners.portability.stager import Stager

    install(empty, Path(Stager._build_setup_package(str(REPOSITORY / "setup.py"), str(tmp_path))))
    empty.run("-m", "pip", "check")
    check(empty, "setup")


@pytest.mark.full
def test_the_templates_entry_point_starts_where_nothing_else_is(empty: Environment, built: Path) -> None:
    install(empty, package(built, ".whl"))
    soundfile.write(empty.folder / "clip.wav", np.zeros(32000), 16000)
    entry = REPOSITORY / "docker" / "flex_template.py"
    job = ["--runner=DataflowRunner", "--dry_run=True", "--project=p", "--region=us-central1"]
    where = ["--temp_location=gs://b/tmp", "--sdk_container_image=example/vggish"]
    given = [f"--input={empty.folder / 'clip.wav'}", "--output=gs://b/out", *STANDIN]
    printed = empty.run(entry, *job, *where, *given)
    assert re.match(r"A dry run: the job has \d+ steps in example/vggish;", printed)
    assert "retry_failed: 'maybe' is neither true nor false" in empty.run(entry, "--retry_failed=maybe", status=2)
