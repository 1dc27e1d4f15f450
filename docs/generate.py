"""Rewrites the blocks of the documentation that come from the code: `python -m docs.generate`.

A block lies between `<!-- generated: NAME -->` and `<!-- end -->`. The parameters of the flex template are made too.
`tests/test_docs.py` checks that all are current.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "docker" / "flex-template.json"
_BLOCK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LAYERS = re.compile(r"layers = \[\n(.*?)\]", re.DOTALL)


def reasons() -> str:
    """Why clips have no record, and what to do."""
    from pipeline.reasons import REASONS

    return _table("reason", "what to do", ((name, remedy) for name, remedy in REASONS.items()))


def contracted() -> list[str]:
    """Packages and modules from the top down, as the import contracts name them."""
    contracts = _LAYERS.findall((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [module for contract in contracts for module in re.findall(r"\w+(?:\.\w+)*", contract)]


def layers() -> str:
    """Packages from the top down."""
    packages = [module for module in contracted() if _path(module).name == "__init__.py"]
    return _table("package", "purpose", ((package, _module_summary(package)) for package in packages))


def counted() -> str:
    """Beam's counters and distributions."""
    from pipeline.counters import ALL

    rows = [f"| `{named.namespace}/{named.name}` | {named.kind} | {named.meaning} |\n" for named in ALL]
    return "".join(["| name | kind | meaning |\n| --- | --- | --- |\n", *rows])


def names(package: str) -> str:
    """A package's public names."""
    module = importlib.import_module(package)
    public = [name for name in module.__all__ if not name.startswith("__")]
    rows = ((f"{package}.{name}", _summary(inspect.getdoc(getattr(module, name)))) for name in public)
    return _table("name", "what it is", rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "reasons": reasons,
    "layers": layers,
    "counters": counted,
    "names of vggish_core": partial(names, "vggish_core"),
    "names of pipeline": partial(names, "pipeline"),
}


def renewed(document: str) -> str:
    """A document -> the same with its generated blocks made from the code."""
    return _BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", document)


def pages() -> list[Path]:
    """The pages that have generated blocks."""
    return [page for page in sorted((ROOT / "docs").glob("*.md")) if _BLOCK.search(page.read_text(encoding="utf-8"))]


def template() -> str:
    """The file that names a Dataflow flex template's parameters."""
    from pipeline.cli.beam import flex_template

    return json.dumps(flex_template.metadata(), indent=2) + "\n"


def main() -> None:
    """Rewrites the pages, and the flex template's parameters."""
    for page in pages():
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
    TEMPLATE.write_text(template(), encoding="utf-8")


def _table(left: str, right: str, rows: Iterable[tuple[str, str]]) -> str:
    return "".join([f"| {left} | {right} |\n| --- | --- |\n", *(f"| `{name}` | {text} |\n" for name, text in rows)])


def _path(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _module_summary(module: str) -> str:
    return _summary(ast.get_docstring(ast.parse(_path(module).read_text(encoding="utf-8"))))


def _summary(docstring: str | None) -> str:
    """A docstring -> its first sentence, without a full stop."""
    first = " ".join((docstring or "").split("\n\n")[0].split())
    first = re.sub(r"^`python -m [\w.]+`: ", "", first)
    first = re.split(r"\. (?=[A-Z])", first)[0].removesuffix(".")
    return first.replace("<->", "↔").replace("->", "→").replace("|", "\\|")


if __name__ == "__main__":
    main()
