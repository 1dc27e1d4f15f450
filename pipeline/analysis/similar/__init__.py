"""Which frames and clips of data sets are alike: search by an example, duplicates."""

THRESHOLD = 0.925
"""Least cosine of duplicates unless said otherwise: docs/search.md has what it finds and what it takes for a copy."""
RAW_THRESHOLD = 0.999
"""The same of raw embeddings, which all point much the same way."""
LEAST = 2
"""Alike frames of a stretch, unless said otherwise."""
