"""The documentation as a site: it builds, its links lead somewhere, no page asks another server for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline import extras
from tests.command import REPOSITORY

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(
        not (find_spec("mkdocs") and find_spec("mkdocstrings")),
        reason=f"MkDocs or mkdocstrings is absent: pip install '{extras.DISTRIBUTION}[docs]'",
    ),
]


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    return subprocess.run(command, cwd=source, capture_output=True, text=True)


def test_the_site_builds(tmp_path: Path) -> None:
    done = build(REPOSITORY, tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {str(path.relative_to(tmp_path)): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) >= len(list((REPOSITORY / "docs").glob("*.md")))
    reference = pages["docs/reference/index.html"]
    assert 'id="pipeline.EmbedAudio"' in reference
    assert "log-mel examples float32" in reference
    assert 'href="../reference/#vggish_core.resample"' in pages["docs/api/index.html"]
    assert (tmp_path / "docs" / "images" / "report.png").exists()
    for name, page in pages.items():
        for fetched in re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"([^\"]+)", page):
            assert not re.match(r"(https?:)?//", fetched), (name, fetched)
            near = tmp_path if name == "404.html" else (tmp_path / name).parent
            assert (near / re.sub(r"[?#].*", "", fetched).lstrip("/")).exists(), (name, fetched)


def test_links_that_lead_nowhere_fail_the_build(tmp_path: Path) -> None:
    links = ["docs/nothing.md", "docs/formats.md#nothing"]
    source = tmp_path / "source"
    for folder in ("docs", "examples", "pipeline", "vggish_core"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*REPOSITORY.glob("*.md"), *(REPOSITORY / name for name in ("mkdocs.yml", "LICENSE", "CITATION.cff"))]:
        shutil.copy(path, source)
    with (source / "CHANGELOG.md").open("a") as page:
        page.writelines(f"\n[there]({link})\n" for link in links)
    done = build(source, tmp_path / "site")
    assert done.returncode != 0
    for link in links:
        assert f"'{link}'" in done.stderr
