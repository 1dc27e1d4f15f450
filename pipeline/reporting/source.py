"""What a report was made of: a digest in its page, so that it is made again only when something has changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata

from pipeline import storage
from pipeline.extras import DISTRIBUTION
from pipeline.output.layout import MANIFEST, REPORT, STATE, files_in, is_history, join
from pipeline.reporting import parts

META = "vggish-report-source"
"""Name of the page's `meta` element that holds the digest."""
_HEAD_BYTES = 2048


def digest(directory: str, names: Mapping[int, str], audio: bool) -> str:
    """An output, the names of classes and whether clips can be heard -> what stands for all that its report shows.

    Raises:
      OSError: the manifest cannot be read.
    """
    found = hashlib.sha256("".join(map(parts.text, (parts.TEMPLATE, parts.STYLE, parts.SCRIPT))).encode())
    runs = {name: size for name, size in files_in(join(directory, STATE)).items() if is_history(name)}
    described = (metadata.version(DISTRIBUTION), sorted(names.items()), sorted(runs.items()), audio)
    found.update(json.dumps(described, default=str).encode())
    with storage.open_read(join(directory, MANIFEST)) as file:
        found.update(file.read())
    return found.hexdigest()


def is_current(directory: str, names: Mapping[int, str], audio: bool) -> bool:
    """Whether the report in an output was made of what the output is now."""
    uri = join(directory, REPORT)
    try:
        if not storage.exists(uri):
            return False
        with storage.open_read(uri) as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", "replace")
        found = re.search(f'<meta name="{META}" content="([0-9a-f]+)">', head)
        return found is not None and found[1] == digest(directory, names, audio)
    except OSError:
        return False
