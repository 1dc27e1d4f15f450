"""The command's own flags, in the groups that its help shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.cli.groups.network import add_model, add_policies
from pipeline.cli.groups.reading import add_reading
from pipeline.cli.groups.running import add_running
from pipeline.cli.groups.writing import add_output

GROUPS: dict[str, Callable[[Any], None]] = {
    "what to read": add_reading,
    "what to write": add_output,
    "which network": add_model,
    "how audio becomes examples": add_policies,
    "how to run": add_running,
}
"""All of them, by the titles that the help shows."""
