"""`vggish-pipeline`: all programs under one name."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from pipeline.cli import options, program
from pipeline.cli.program import PROGRAMS
from tests.command import REPOSITORY, run


def test_it_lists_every_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in PROGRAMS)
    modules = {path.stem for path in (REPOSITORY / "pipeline").glob("*.py") if "ending.run" in path.read_text()}
    assert modules <= {each.module.rpartition(".")[2] for each in PROGRAMS.values()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([name, "--help"])
    assert ended.value.code == 0
    module = PROGRAMS[name].module.rpartition(".")[2]
    assert f"usage: python -m pipeline.{module} " in capsys.readouterr().out
    assert importlib.util.find_spec(f"pipeline.{module}")


@pytest.mark.parametrize(
    ("arguments", "wrong", "remedy"),
    [
        (["verfy"], "'verfy' is not one of the programs; did you mean verify?", "vggish-pipeline --help lists them."),
        (["--input", "a"], "--input comes before the name of a program", "Write vggish-pipeline run --input."),
    ],
)
def test_another_name_is_refused(
    arguments: list[str], wrong: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {wrong}", f"  {remedy}"]


def test_a_program_is_given_its_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert program.main(["run", "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: --input is missing\n")
    assert program.main(["fit_pca", "--input", str(tmp_path / "none-*"), "--output", str(tmp_path / "p.npz")]) == 2


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    version = pipeline.__version__
    assert program.main(["version"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"vggish-pipeline {version}\n")
    for name in ("python 3.", "apache-beam ", "numpy ", "processor ", "kernel vectors of "):
        assert f"\n  {name}" in shown
    with pytest.raises(SystemExit):
        program.main(["verify", "--version"])
    assert capsys.readouterr().out == shown


def test_flags_may_be_spelled_with_hyphens() -> None:
    arguments = ["--input", "a-b", "--output=o-o", "--num-shards", "3", "--pca-params=x-y", "--direct-num-workers=2"]
    flags, rest = options.parse(arguments)
    assert (flags.input, flags.output, flags.num_shards, flags.pca_params) == (["a-b"], "o-o", 3, "x-y")
    assert rest == ["--direct_num_workers=2"]


def test_it_works_where_the_folder_holds_modules_of_the_same_name(tmp_path: Path) -> None:
    """As an installed script, whose own folder is not searched."""
    (tmp_path / "pipeline.py").write_text("raise SystemExit('the wrong module')\n")
    script = Path(sys.executable).with_name("vggish-pipeline")
    if not script.is_file():
        pytest.skip("the package is not installed here: pip install -e .")
    done = subprocess.run([script, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert "wrong module" not in done.stderr + done.stdout


@pytest.mark.ci
def test_as_a_module() -> None:
    done = run("pipeline", "version")
    assert done.status == 0
    assert done.out.startswith("vggish-pipeline ")


@pytest.mark.parametrize("command", ["run --input a --output b", "verify a", "fad a b"])
def test_an_interpreter_without_the_packages_is_named(command: str) -> None:
    """As `python3` outside of the environment answers README's commands."""
    bare = [sys.executable, "-S", "-E", "-m", "pipeline"]  # without site-packages
    done = subprocess.run([*bare, *command.split()], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    wrong, remedy = done.stderr.splitlines()
    assert re.fullmatch(rf"error: \w+ is not installed for {re.escape(sys.executable)}", wrong)
    assert remedy == (
        "  Activate the environment that has it (. .venv/bin/activate), or install this package: pip install ."
    )
