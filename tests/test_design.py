"""The design page names every module, and no module that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", ["pipeline", "vggish_core"])
def test_the_design_page_names_every_module(package: str) -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = page.split(f"### {package}\n", 1)[1].split("\n#", 1)[0]
    # The module column is the last but one.
    named = {name for row in re.findall(r"^\|(.*)\|[^|]*\|$", section, re.M) for name in re.findall(r"`(\w+)`", row)}
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert modules == named
