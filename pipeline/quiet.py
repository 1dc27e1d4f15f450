"""What libraries log stays away from users, unless they ask for it."""

from __future__ import annotations

import logging
import warnings


def logs(verbose: bool) -> None:
    """Set up logging for a command: everything with --verbose, else what our own modules have to say."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.CRITICAL, format="%(levelname)s %(name)s: %(message)s"
    )
    if not verbose:
        warnings.simplefilter("ignore")
        for ours in ("pipeline", "vggish_core"):
            logging.getLogger(ours).setLevel(logging.WARNING)
