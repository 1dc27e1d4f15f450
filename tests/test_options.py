"""The flags: each unusable one is named with its value and a remedy, and --help is light."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys

import pytest

from pipeline.cli import options
from pipeline.cli.flags import check_beam_flags, failures_allowed, hop_seconds, positive_float, positive_int
from pipeline.errors import FlagError

GOOD = ["--input", "audio/**", "--output", "out"]


def test_defaults() -> None:
    flags, rest = options.parse([*GOOD, "--direct_num_workers", "2"])
    assert flags.checkpoint == flags.pca_params == "released"
    assert flags.convolutions == "winograd"
    assert rest == ["--direct_num_workers", "2"]


def test_bfloat16_takes_the_direct_kernel() -> None:
    flags, _ = options.parse([*GOOD, "--precision", "bfloat16"])
    assert flags.convolutions == "direct"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--output", "out"], ["--input"]),
        (["--input", "a"], ["--output"]),
        ([*GOOD, "--num_shards", "0"], ["--num_shards", "'0'"]),
        ([*GOOD, "--hop_seconds", "0.333"], ["--hop_seconds", "'0.333'", "0.01"]),
        ([*GOOD, "--max_duration_seconds", "nan"], ["--max_duration_seconds", "'nan'"]),
        ([*GOOD, "--short_clips", "drop"], ["--short_clips", "'drop'", "skip"]),
        ([*GOOD, "--max_failures", "few"], ["--max_failures", "'few'", "5%"]),
        ([*GOOD, "--segments", "s.csv"], ["--segments", "--class_labels"]),
        ([*GOOD, "--manifest", "m.csv", "--segments", "s.csv"], ["--manifest", "--segments"]),
        ([*GOOD, "--precision", "bfloat16", "--convolutions", "winograd"], ["--precision", "--convolutions"]),
    ],
)
def test_unusable_flags_are_named_with_value_and_remedy(argv: list[str], words: list[str]) -> None:
    with pytest.raises(FlagError) as error:
        options.parse(argv)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (["--checkpont", "x"], ["--checkpont", "--checkpoint"]),
        (["--direct_num_worker=2"], ["--direct_num_worker", "--direct_num_workers"]),
        (["b.wav", "c.wav"], ["'b.wav'", "quote patterns"]),
        (["--direct_num_workers", "two"], ["--direct_num_workers", "'two'", "whole number", "Beam's"]),
    ],
)
def test_a_flag_nobody_knows_gets_the_nearest_one(rest: list[str], words: list[str]) -> None:
    with pytest.raises(FlagError) as error:
        check_beam_flags(rest, options.names())
    for word in words:
        assert word in str(error.value)


def test_beam_flags_pass() -> None:
    check_beam_flags(["--direct_num_workers", "2", "--direct_running_mode=multi_threading", "--project", "p"])


@pytest.mark.parametrize(("limit", "clips", "allowed"), [("5%", 400, 20), ("0", 400, 0), ("7", 3, 7), ("0.5%", 399, 1)])
def test_failures_allowed(limit: str, clips: int, allowed: int) -> None:
    assert failures_allowed(limit, clips) == allowed


UNITS = {"S": r"\bseconds\b|\bs\b", "MB": r"\bMB\b", "N": r"\bnumber of\b", "N|N%": "number or a share"}


@pytest.mark.parametrize("action", options.parser()._actions[1:], ids=lambda action: action.dest)
def test_help_names_the_default_and_the_unit_of_every_flag(action: argparse.Action) -> None:
    said = (action.help or "") % vars(action)
    assert "(default: " in said or "(required)" in said or action.nargs == 0
    if action.default not in (None, False, [], "") and action.nargs != 0:
        value = f"{action.default:g}" if isinstance(action.default, float) else str(action.default)
        assert f"(default: {value}" in said
    assert re.search(UNITS.get(action.metavar if isinstance(action.metavar, str) else "", ""), said)
    if action.type in (positive_int, positive_float, hop_seconds):
        assert action.metavar in UNITS


@pytest.mark.parametrize("about", ["a folder", "AudioSet's own list", "a bucket", "on Flink", "on Dataflow"])
def test_help_has_an_example_of_each_use_that_parses(about: str) -> None:
    example = options.EXAMPLES.split(f"  {about}", 1)[1].split(":\n", 1)[1]
    command = re.match(r"(    .*\\\n)*    .*\n", example)
    assert command is not None
    words = shlex.split(command[0].replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "pipeline.run"]
    _, rest = options.parse(words[3:])
    check_beam_flags(rest)


def test_help_imports_neither_tensorflow_nor_beam() -> None:
    code = (
        "import sys, contextlib, io, pipeline.run\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    try: pipeline.run.main(['--help'])\n"
        "    except SystemExit: pass\n"
        "assert '--input' in out.getvalue()\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'tensorflow', 'apache_beam', 'av', 'numba', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_inputs_may_follow_one_flag_or_several() -> None:
    flags, rest = options.parse(["--input", "a", "b", "--output", "o", "--input", "c", "--exclude", "x", "y"])
    assert (flags.input, flags.exclude, rest) == (["a", "b", "c"], ["x", "y"], [])
