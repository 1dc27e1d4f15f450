"""Which frames and clips of data sets are alike: search by an example, duplicates."""

THRESHOLD = 0.95
"""Least cosine of duplicates unless said otherwise: docs/search.md has what it finds and what it takes for a copy."""
LEAST = 2
"""Alike frames of a stretch, unless said otherwise."""
