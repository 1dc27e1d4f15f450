"""The documentation: links lead somewhere, names import, every reason and message is explained, commands run.

Commands in fenced blocks are run as they stand, in a folder that holds what they name (`tests.docs_house`), with the
stand-in weights in place of the released ones. Those that need a bucket, a cluster or an engine are only read: by the
command's parser and Beam's. A block before which `<!-- not run: WHY -->` stands is neither.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import vggish_core
from pipeline import reasons
from pipeline.cli import options
from pipeline.cli.flags import check_beam_flags
from tests import command
from tests.command import REPOSITORY, STANDIN
from tests.docs_house import furnish
from tests.test_mistakes import MISTAKES

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
FENCE = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)


def _name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ +(.*)$", _prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked), target


def test_every_page_is_in_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def _resolved(name: str) -> Any:
    """A dotted name -> what it stands for: a module, or something in one."""
    parent, _, last = name.rpartition(".")
    holder: ModuleType = importlib.import_module(parent)
    if hasattr(holder, last):
        return getattr(holder, last)
    return importlib.import_module(name)


API = re.findall(r"^\| `([\w.]+)` \|", (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("name", API)
def test_the_api_page_names_what_can_be_imported(name: str) -> None:
    found = _resolved(name)
    assert found is not None
    assert getattr(found, "__doc__", None)


def test_the_api_page_names_all_that_vggish_core_gives() -> None:
    assert {f"vggish_core.{name}" for name in vggish_core.__all__} <= set(API)


def test_every_reason_is_explained() -> None:
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.M))
    assert rows == reasons.REASONS


SELF_EXPLANATORY = {
    "no output",
    "no input",
    "bfloat16 with winograd",
    "unknown choice",
    "unit in a number",
    "no shards",
    "hop between frames",
    "segments without a table",
    "lists mixed up",
    "manifest missing",
    "verify nothing",
    "predict without a model",
    "checkpoint missing",
    "checkpoint is a folder",
    "records missing",
    "Dataflow without a project",
    "storage of another kind",
}
"""Mistakes whose two lines leave nothing to say."""


@pytest.mark.parametrize("name", sorted(MISTAKES.keys() - SELF_EXPLANATORY))
def test_messages_are_explained(name: str) -> None:
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [text for row in re.findall(r"^\| (`.*?) \| ", page, re.M) for text in re.findall(r"`([^`]+)`", row)]
    patterns = [".*".join(map(re.escape, text.split("…"))) for text in (*quoted, "N of M clips failed, more than")]
    wrong = re.sub(r"^\d+ of \d+ clips", "N of M clips", MISTAKES[name].wrong)
    wrong = wrong.replace("no flag of this command;", "no flag of this command or of Beam;")
    assert any(re.search(pattern, wrong) for pattern in patterns)


@dataclass(frozen=True)
class Block:
    """Commands of a page, from a line on."""

    page: str
    line: int
    commands: tuple[str, ...]


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            not_run, language, content = found.groups()
            lines = content.replace("\\\n", " ").splitlines()
            commands = tuple(line.strip() for line in lines if re.match(r"(python -m|make) ", line))
            if commands and language in ("", "sh", "bash", "shell") and not not_run:
                yield Block(_name(page), text[: found.start()].count("\n") + 1, commands)


BLOCKS = list(_blocks())
NEED_WEIGHTS = {
    "pipeline.run": 4,
    "vggish_core.smoke_test": 4,
    "vggish_core.inference_demo": 4,
    "vggish_core.train_demo": 2,
}
"""Programs that look for the released weights -> how many words of `STANDIN` they are given instead."""


def _program(line: str) -> tuple[str, list[str]]:
    words = shlex.split(re.sub(r"\s#.*", "", line))
    assert words[:2] == ["python", "-m"], line
    return words[2], words[3:]


def _runs_here(line: str) -> bool:
    """Whether a command needs nothing but this machine: no bucket, no shared file system, no engine."""
    return not re.search(r"gs://|s3://|/shared/|--runner (?!DirectRunner)", line)


@pytest.fixture(scope="module")
def furnished(standin_weights: Path, example_audio: Path, full: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the commands name; README's name no raw embeddings."""
    folder = tmp_path_factory.mktemp("furnished")
    furnish(folder, example_audio, full)
    return folder


def pages() -> Iterator[Any]:
    """The pages that have commands: README's are run by .ci/run too."""
    for page in sorted({block.page for block in BLOCKS}):
        yield pytest.param(page, marks=pytest.mark.ci if page == "README.md" else pytest.mark.full)


@pytest.mark.parametrize("page", pages())
def test_commands_run(page: str, tmp_path: Path, furnished: Path) -> None:
    """A page's commands one after another, in a folder that holds what they name."""
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)
    if page == "docs/training.md":  # the others make one
        shutil.copytree(tmp_path / "audioset" / "bal_train", tmp_path / "embeddings")
    for block in BLOCKS:
        for line in block.commands if block.page == page else ():
            if line.startswith("python -m") and _runs_here(line):  # the others are read by the next test
                module, arguments = _program(line)
                if module in NEED_WEIGHTS and "--checkpoint" not in arguments:
                    arguments += STANDIN[: NEED_WEIGHTS[module]]
                done = command.run(module, *arguments, cwd=tmp_path)
                assert done.status == 0, f"{line}\n{done.out}\n{done.err}"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_commands_are_understood(block: Block) -> None:
    """Those of `pipeline.run` by its parser and Beam's, those of make by make; modules exist."""
    for line in block.commands:
        if line.startswith("make "):
            target = line.split()[1]
            assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M), line
        elif line.startswith("python -m"):
            module, arguments = _program(line)
            assert importlib.util.find_spec(module), line
            if module == "pipeline.run" and "..." not in line:
                _, rest = options.parse(arguments)
                check_beam_flags(rest)
