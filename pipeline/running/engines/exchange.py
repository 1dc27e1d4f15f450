"""Where an engine's workers leave what the process that started the job reads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import UserError
from pipeline.running.engines.runners import Engine


class NoPlaceError(UserError):
    """An engine's workers have no folder in common with this process."""


@contextmanager
def place(engine: Engine, what: str) -> Iterator[str]:
    """Within the block: URI of a folder that the workers may write to. Who reads what they leave deletes it.

    A temporary folder where the workers have this machine's files, else the engine's --temp_location.

    Args:
      engine: whose workers.
      what: they leave, for the message: "reports".

    Raises:
      NoPlaceError: an engine elsewhere has no --temp_location.
    """
    if engine.here:
        with tempfile.TemporaryDirectory(prefix=f"vggish-{what}-") as folder:
            yield folder
        return
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    found = engine.options().view_as(GoogleCloudOptions).temp_location
    if not found:
        raise NoPlaceError(f"{engine.runner} has no place for the {what}", "Name one with --temp_location")
    yield str(found)
