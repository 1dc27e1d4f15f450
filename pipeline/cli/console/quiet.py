"""Hides the libraries' log messages from users unless they ask for them."""

from __future__ import annotations

import logging
import threading
import warnings

OURS = ("pipeline", "vggish_core")


def logs(verbose: bool) -> None:
    """Set up logging for a command: everything with --verbose, else what our own modules have to say."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.CRITICAL, format="%(levelname)s %(name)s: %(message)s"
    )
    if not verbose:
        warnings.simplefilter("ignore")
        for name in OURS:
            logging.getLogger(name).setLevel(logging.WARNING)
        for handler in logging.getLogger().handlers:  # Beam sets levels of its own for what Prism has to say
            handler.addFilter(lambda record: record.name.startswith(OURS) or record.levelno >= logging.CRITICAL)
        threading.excepthook = _unless_of_a_connection


def _unless_of_a_connection(raised: threading.ExceptHookArgs) -> None:
    """Prints what ended a thread, except broken connections to the engine, which the command explains itself."""
    if raised.exc_type.__module__.partition(".")[0] != "grpc":
        threading.__excepthook__(raised)
