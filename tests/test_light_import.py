from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pipeline.running.engines import light_import
light_import.beam()
print(sorted({"google.cloud.bigquery", "boto3", "IPython"} & {n for n, m in sys.modules.items() if m}))
import apache_beam as beam
with beam.Pipeline(runner="FnApiRunner") as root:
    root | beam.Create([1, 2]) | beam.combiners.Count.Globally() | beam.Map(print)
import requests, google.cloud.storage  # whoever needs them has them
light_import.beam()
"""
ANOTHER_VERSION = """
import sys
from pipeline.running.engines import light_import
light_import.PACKAGES = ("apache_beam.coders",)
light_import.beam()
import apache_beam
print(apache_beam.coders.VarIntCoder().encode(1))
"""


def _printed(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_beam_works_without_the_packages_of_clouds() -> None:
    assert _printed(PROGRAM) == ["[]", "2"]


@pytest.mark.ci
def test_a_beam_that_needs_one_of_them_gets_it() -> None:
    assert _printed(ANOTHER_VERSION) == ["b'\\x01'"]
