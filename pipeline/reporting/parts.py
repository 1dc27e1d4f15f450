"""The page's own files, and the policy by which a browser runs nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

TEMPLATE, STYLE, SCRIPT = "page.html", "page.css", "page.js"


@cache
def text(name: str) -> str:
    """The content of a file of the page: its template (Jinja2), style sheet or script."""
    return resources.files("pipeline.reporting").joinpath(name).read_text(encoding="utf-8")


def policy() -> str:
    """The page's Content-Security-Policy (W3C, level 3): its own style and script by their sha256, pictures and sound
    that are part of it, and nothing from anywhere else."""
    style, script = (f"'sha256-{_hash(text(name))}'" for name in (STYLE, SCRIPT))
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
