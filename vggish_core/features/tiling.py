"""Sizes that the front end's compiled loops and their callers agree on."""

from __future__ import annotations

FRAMES = 96
"""Frames whose mel bands are computed together, in the lanes of vectors."""
CACHE_LINE = 64
"""Bytes: columns of a product's right factor fill it."""
