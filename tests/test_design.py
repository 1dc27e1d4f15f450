"""Import contracts name every package; no modules import each other; what packages offer is there."""

from __future__ import annotations

import graphlib
import importlib
import re
from pathlib import Path

import grimp
import pytest

from docs import generate

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "vggish_core")


def test_the_import_contracts_name_every_package_and_module() -> None:
    """The design page's table of layers is generated from them."""
    paths = [path for package in PACKAGES for path in (ROOT / package).iterdir()]
    modules = [path for path in paths if (path / "__init__.py").exists() or path.suffix == ".py"]
    names = {f"{path.parent.name}.{path.stem}" for path in modules if path.stem != "__init__"}
    assert sorted(names - set(generate.contracted())) == []


def test_no_modules_import_each_other() -> None:
    graph = grimp.build_graph(*PACKAGES)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # A package's own names are imported from it by what lies outside.
    graphlib.TopologicalSorter(imports).prepare()


def test_packages_are_small_and_say_what_they_are_for() -> None:
    """A package has up to two dozen modules, and a line about itself."""
    for path in [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]:
        assert re.match(r'"""[^"\n]+\.', path.read_text(encoding="utf-8")), path
        assert len(list(path.parent.glob("*.py"))) <= 24, path


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_offers_is_there(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing
