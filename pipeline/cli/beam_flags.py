"""Flags that are Beam's own: whether Beam knows them, before a pipeline is made."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cli.flags import FlagError, Parser, unknown_flag


def check_beam_flags(rest: Sequence[str], ours: Sequence[str] = ()) -> None:
    """Raise `FlagError` for an argument that neither this command nor Beam knows, or a value that Beam does not take.

    Args:
      rest: what the command's own parser left over.
      ours: the command's flags, to suggest the nearest one.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = Parser(prog="pipeline.run", add_help=False, allow_abbrev=False)
    for cls in PipelineOptions.__subclasses__():
        cls._add_argparse_args(parser)  # the same call that Beam makes to build its own parser
    try:
        _, unknown = parser.parse_known_args(list(rest))
    except FlagError as error:
        raise FlagError(f"{error.found} (Beam's flag)", error.remedy) from error
    if unknown:
        raise unknown_flag(unknown[0], [*ours, *parser._option_string_actions], "this command or of Beam")
