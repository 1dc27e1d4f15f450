"""The command's flags as Beam's options; they are defined once, in `pipeline.cli.groups`."""

from __future__ import annotations

import argparse
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.cli import config, groups, options

BEAMS = frozenset(["--runner"])
"""Flags of ours that are Beam's as well: it defines them itself."""


class VggishOptions(PipelineOptions):
    """The command's flags, for programs that hand them to Beam: `options.view_as(VggishOptions).hop_seconds`.

    Once this module is imported, `PipelineOptions` of any argument list know them, as do `get_all_options` and what an
    engine shows of a job. Combinations are checked by the command alone.
    """

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        for add in groups.GROUPS.values():
            add(_Others(parser))


class _Others:
    """A parser that is given all flags but Beam's."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def add_argument(self, *names: str, **settings: Any) -> Any:
        return None if BEAMS.intersection(names) else self._parser.add_argument(*names, **settings)


def shown(flags: argparse.Namespace) -> list[str]:
    """A run's flags -> those of them that an engine's page shows, as arguments for Beam."""
    found = config.given(options.parser(), flags)
    return config.arguments({name: value for name, value in found.items() if f"--{name}" not in BEAMS})
