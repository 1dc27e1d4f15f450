"""Audio corpora to VGGish embedding data sets, on Apache Beam.

`python -m pipeline.run` is the command; docs/design.md says where everything lives.
"""

__version__ = "0.1.0"
