"""The design page names every module, in its package, and no module that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", ["pipeline", "vggish_core"])
def test_the_design_page_names_every_module(package: str) -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = page.split(f"### {package}\n", 1)[1].split("\n#", 1)[0]
    table = [[cell.strip() for cell in row.split("|")] for row in re.findall(r"^\|(.*)\|$", section, re.M)]
    named, room, folder = [], "", ""
    for *before, modules, _ in table[2:]:
        if before:  # columns of rooms and of their packages, which go on until the next one
            if before[0]:
                room, folder = before[0], ""
            folder = before[1].strip("`") or folder
            assert room
        named += [f"{folder}/{name}".lstrip("/") for name in re.findall(r"`(\w+)`", modules)]
    found = {path.relative_to(ROOT / package).with_suffix("") for path in (ROOT / package).rglob("*.py")}
    assert sorted(named) == sorted(path.as_posix() for path in found if path.name != "__init__")


def test_packages_are_small_and_say_what_they_are_for() -> None:
    """A room has up to a dozen modules, a line about itself, and nothing that is imported before it is wanted."""
    rooms = [path for path in (ROOT / "pipeline").rglob("__init__.py") if path.parent != ROOT / "pipeline"]
    assert rooms
    for path in rooms:
        assert re.fullmatch(r'"""[^"\n]+\."""\n', path.read_text(encoding="utf-8")), path
        assert len(list(path.parent.glob("*.py"))) <= 13, path
