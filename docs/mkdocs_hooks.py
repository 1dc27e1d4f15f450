"""The site's files, for MkDocs (`mkdocs.yml`): pages and what they link to, where they lie in the repository.

So links are the same here and there. `docs/reference.md` is made: the docstrings of the names in `docs/api.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
FILES = ("*.md", "LICENSE", "CITATION.cff", "docs/*.md", "docs/images/*", "examples/*.*", "docker/*.json")
API = "docs/api.md"
STYLE = ".wy-table-responsive table td { white-space: normal }"  # the theme has long cells in one line
NAME = re.compile(r"^\| `([\w.]+)` \|", re.M)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the theme and of `docs_dir` -> those of the site."""
    paths = sorted(path for pattern in FILES for path in ROOT.glob(pattern))
    site = [File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)) for path in paths]
    reference = File.generated(config, "docs/reference.md", content=_reference())
    themes = [file for file in files if file.src_dir != config.docs_dir]
    style = File.generated(config, "site.css", content=STYLE)
    return Files([*themes, *site, reference, style])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page's text; the names to import lead to their docstrings."""
    return NAME.sub(r"| [`\1`][\1] |", markdown) if page.file.src_uri == API else markdown


def _reference() -> str:
    names = NAME.findall((ROOT / API).read_text(encoding="utf-8"))
    return "\n\n".join(["# Docstrings", *(f"::: {name}" for name in names)])
