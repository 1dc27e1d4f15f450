"""The design page names every package; no modules import each other; names that are imported from packages exist."""

from __future__ import annotations

import graphlib
import importlib
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "vggish_core")


def test_the_design_page_names_every_package() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    layers = page.split("## Layers\n", 1)[1].split("\n## ", 1)[0]
    named = {name.removeprefix("pipeline.") for name in re.findall(r"`([\w.]+)`", layers)}
    ours = {path for package in PACKAGES for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
    doors = {path for path in (ROOT / "pipeline").glob("*.py") if path.stem != "__init__"}
    assert sorted(path.stem for path in ours | doors if path.stem not in named) == []


def test_no_modules_import_each_other() -> None:
    graph = grimp.build_graph(*PACKAGES)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # A package's own names are imported from it by what lies outside.
    graphlib.TopologicalSorter(imports).prepare()


def test_packages_are_small_and_say_what_they_are_for() -> None:
    """A package has up to two dozen modules, and a line about itself."""
    rooms = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    for path in rooms:
        assert re.match(r'"""[^"\n]+\.', path.read_text(encoding="utf-8")), path
        assert len(list(path.parent.glob("*.py"))) <= 24, path


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_offers_is_there(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing
