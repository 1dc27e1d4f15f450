"""The documentation: links work, generated blocks are current, quoted messages exist, commands run.

Commands in fenced blocks are run as they stand, in a folder with the files they name (`tests.documented_files`), with
the stand-in weights in place of the released ones. Those that need a bucket, a cluster or an engine are only parsed, by
the command's parser and Beam's. A block after `<!-- not run: WHY -->` is neither.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docs import generate
from pipeline.cli import options
from pipeline.cli.flags import check_beam_flags
from tests import command
from tests.command import REPOSITORY, STANDIN
from tests.documented_files import make_files

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


@pytest.mark.parametrize("page", generate.pages(), ids=_name)
def test_generated_blocks_are_current(page: Path) -> None:
    """`python -m docs.generate` changes nothing."""
    text = page.read_text(encoding="utf-8")
    assert generate.renewed(text) == text


def test_the_parameters_of_the_flex_template_are_current() -> None:
    """`python -m docs.generate` changes nothing."""
    assert generate.TEMPLATE.read_text(encoding="utf-8") == generate.template()


@pytest.mark.parametrize(
    "name", ["vggish_core.weights.resolve", "vggish_core.params", "pipeline.reasons.REASONS", "pipeline.run.main"]
)
def test_other_names_of_the_api_page_exist(name: str) -> None:
    assert f"| `{name}` |" in (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute) or importlib.util.find_spec(name)


def _messages() -> str:
    """The text of all strings in the code, a line each; `…` stands for each value that a message is given."""
    found = []
    for package in ("pipeline", "vggish_core"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_quoted_messages_exist() -> None:
    """Every message of the troubleshooting page is in the code, between the values that it is given."""
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    section = page.split("## Before a run", 1)[1].split("## After a run", 1)[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", section, re.M)
    assert len(quoted) > 15
    messages = _messages()
    parts = [part.strip(" :") for text in quoted for part in text.split("…")]
    assert [part for part in parts if part not in messages] == []


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
    "pipeline.fad": 2,
    "vggish_core.smoke_test": 4,
    "vggish_core.inference_demo": 4,
    "vggish_core.train_demo": 2,
}
"""Programs that look for the released weights -> how many words of `STANDIN` replace them."""


def _program(line: str) -> tuple[str, list[str]]:
    words = shlex.split(re.sub(r"\s#.*", "", line))
    assert words[:2] == ["python", "-m"], line
    return words[2], words[3:]


NOT_EVERYWHERE = {"--to hoplite": "perch_hoplite", "--to tfds": "tensorflow_datasets"}
"""Flags -> the packages that they need, and that the tests' packages do not all go with."""


def _runs_here(line: str) -> bool:
    """Whether a command needs nothing but this machine: no bucket, no shared file system, no engine, no odd package."""
    if any(flag in line and not importlib.util.find_spec(package) for flag, package in NOT_EVERYWHERE.items()):
        return False
    return not re.search(r"gs://|s3://|/shared/|--runner (?!DirectRunner)", line)


@pytest.fixture(scope="module")
def documented_files(
    standin_weights: Path, example_audio: Path, full: bool, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the files that the commands name; only some name raw embeddings."""
    folder = tmp_path_factory.mktemp("documented")
    make_files(folder, example_audio, full)
    return folder


def pages() -> Iterator[Any]:
    """The pages that have commands; .ci/run runs README's too."""
    for page in sorted({block.page for block in BLOCKS}):
        yield pytest.param(page, marks=pytest.mark.ci if page == "README.md" else pytest.mark.full)


@pytest.mark.parametrize("page", pages())
def test_commands_run(page: str, tmp_path: Path, documented_files: Path) -> None:
    """A page's commands, one after another."""
    shutil.copytree(documented_files, tmp_path, dirs_exist_ok=True)
    if page in ("docs/training.md", "docs/distances.md", "docs/search.md"):  # the others make one
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
