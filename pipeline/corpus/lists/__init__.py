"""Manifests: this project's own, and the lists that other projects keep, each translated to the columns of ours."""
