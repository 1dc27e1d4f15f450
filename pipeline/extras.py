"""Packages that only an extra installs, and the error where they are missing: which ones, and how to install them."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import find_spec

from pipeline.errors import UserError

DISTRIBUTION = "vggish-pipeline"
_STORES = {"gs": ("gcp", ("gcsfs",)), "s3": ("s3", ("s3fs",))}
"""Schemes of URIs -> the extra and the modules that opening them takes."""


class MissingPackagesError(UserError):
    """Packages of an extra are not installed."""


def needs(extra: str, *modules: str, for_: str) -> None:
    """Expect modules that an extra installs, without importing them.

    Args:
      extra: its name in `pyproject.toml`.
      modules: such as "google.cloud.storage", which is shown as google-cloud-storage.
      for_: what they are needed for, the subject of the message: "reading gs://".

    Raises:
      MissingPackagesError: some are not there.
    """
    if missing := [re.sub("[._]", "-", name) for name in modules if not _installed(name)]:
        raise MissingPackagesError(
            f"{for_} needs packages that are not installed: {', '.join(missing)}",
            f"Install them: pip install '{DISTRIBUTION}[{extra}]'",
        )


def missing_package(error: BaseException) -> MissingPackagesError | None:
    """A failed import of a package that this one always needs -> the error that says how it comes; None for others."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not name or name in ("pipeline", "vggish_core"):
        return None
    return MissingPackagesError(
        f"{name} is not installed for {sys.executable}",
        "Activate the environment that has it (. .venv/bin/activate), or install this package: pip install .",
    )


@cache  # not of errors: a notebook may install what is missing
def needs_store(scheme: str) -> None:
    """As `needs`, of what opening files of a URI's scheme takes; nothing for schemes that no extra is for."""
    if scheme in _STORES:
        extra, modules = _STORES[scheme]
        needs(extra, *modules, for_=f"reading {scheme}://")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # of its parent; of a module that was put together by hand
        return False
