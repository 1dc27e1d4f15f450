"""`vggish-pipeline NAME ...`: every program of the package under one name, wherever it is installed."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from pipeline.cli.console import ending, messages
from pipeline.errors import OK, FlagError

NAME = "vggish-pipeline"


class Program(NamedTuple):
    """A program.

    Attributes:
      module: of `pipeline.cli`, whose `main` it is.
      about: what it does.
      flags: that go before the user's.
    """

    module: str
    about: str
    flags: tuple[str, ...] = ()


PROGRAMS = {
    "run": Program("run", "audio -> a data set of embeddings"),
    "check": Program("run", "what `run` with the same flags would do and take; changes nothing", ("--check",)),
    "status": Program("status", "how far an output is, on any engine and from any machine"),
    "verify": Program("verify", "compare a data set with what its manifest promises"),
    "audit": Program("verify", "the same, and compute 20 clips again from their audio", ("--audit", "20")),
    "report": Program("report", "a page that shows what is in a data set"),
    "train": Program("train", "a classifier from data sets and records"),
    "predict": Program("predict", "a classifier's scores for audio or records"),
    "fit-pca": Program("fit_pca", "a PCA of one's own from raw embeddings"),
    "fad": Program("fad", "distances between data sets, records and folders of audio"),
    "search": Program("similar.search", "clips or frames that sound like an example"),
    "duplicates": Program("similar.duplicates", "what a data set has twice, or shares with another"),
    "export": Program("export", "a data set as arrays: a vector a clip, or every frame"),
    "parquet": Program("parquet", "a data set as Parquet files"),
    "reshard": Program("reshard", "the same records in another number of files"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Arguments, the first of which names a program -> its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, *rest = arguments or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_help())
        return OK
    if name in ("--version", "version"):
        return main_of("console.version")(())
    if (found := PROGRAMS.get(name) or PROGRAMS.get(name.replace("_", "-"))) is None:
        return messages.show(_unknown(name))
    return main_of(found.module)([*found.flags, *rest])


def main_of(module: str) -> Callable[..., int]:
    """A module of `pipeline.cli` -> its `main`, imported when it is called, so that missing packages are an error."""

    def main(argv: Sequence[str] | None = None) -> int:
        try:
            return importlib.import_module(f"pipeline.cli.{module}").main(argv)
        except ModuleNotFoundError as error:
            return messages.show(error)

    return main


def _help() -> str:
    width = max(map(len, PROGRAMS))
    lines = [f"  {name:<{width}}  {program.about}" for name, program in PROGRAMS.items()]
    return "\n".join(
        [
            f"usage: {NAME} PROGRAM ...",
            "",
            "VGGish embedding data sets from audio, and what is done with them.",
            "",
            *lines,
            f"  {'version':<{width}}  versions of all that takes part",
            "",
            f"{NAME} PROGRAM --help lists a program's flags.",
        ]
    )


def _unknown(name: str) -> FlagError:
    if name.startswith("-"):
        return FlagError(f"{name} comes before the name of a program", f"Write {NAME} run {name}")
    near = difflib.get_close_matches(name, PROGRAMS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return FlagError(f"{name!r} is not one of the programs{hint}", f"{NAME} --help lists them")


def program() -> NoReturn:
    """The command as a process, which it ends."""
    ending.run(main)
