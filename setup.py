"""For Beam's `--setup_file`: the package is declared in pyproject.toml.

All but its licence, which setuptools before 77 takes in another form than those after; Beam's workers have either.
"""

from setuptools import setup

setup(license="Apache-2.0")
