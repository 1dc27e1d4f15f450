"""Patterns: what matches, and what a walk may leave out without looking."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.storage.globs import compile_glob


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.wav", ["a.wav", "-a b.wav", "é\n.wav"], ["d/a.wav", "a.WAV", ".a.wav", "a.wav.gz"]),
        ("**", ["a", "d/a", "d/e/a"], [".a", "d/.a", ".d/a", "d/.e/a"]),
        ("**/*.wav", ["a.wav", "d/a.wav", "d/e/a.wav"], ["d/a.flac", ".d/a.wav", "d/.a.wav"]),
        ("**.wav", ["a.wav", "d/e/a.wav"], ["a.flac", "d/.e/a.wav"]),
        ("d*/**/x", ["d/x", "dd/e/f/x"], ["x", "e/x", "d/.e/x"]),
        ("a**b", ["ab", "axb", "a/b", "a/c/b"], ["a/.c/b", "b"]),
        ("?.wav", ["a.wav", "é.wav"], ["ab.wav", ".wav"]),
        ("[a-c].wav", ["b.wav"], ["d.wav", "-.wav"]),
        ("[!a-c].wav", ["d.wav"], ["b.wav", "/.wav"]),
        ("[]x].wav", ["].wav", "x.wav"], ["y.wav"]),
        ("[[]x]", ["[x]"], ["x"]),
        ("a[b", ["a[b"], ["ab"]),
        (".hidden/*", [".hidden/a"], [".hidden/.a", "hidden/a"]),
        ("*/a.(b)+$", ["d/a.(b)+$"], ["d/a.bb"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, yes: list[str], no: list[str]) -> None:
    glob = compile_glob(pattern)
    assert [path for path in yes if not glob.matches(path)] == []
    assert [path for path in no if glob.matches(path)] == []


@given(
    st.lists(st.sampled_from(["a", "*", "**", "a*", "?b", "**b"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "b", "ab", "abb"]), min_size=1, max_size=5),
)
@settings(max_examples=300, deadline=None)
def test_a_walk_misses_nothing(pattern: list[str], path: list[str]) -> None:
    glob = compile_glob("/".join(pattern))
    if glob.matches("/".join(path)):
        assert all(glob.may_hold(folder, depth) for depth, folder in enumerate(path[:-1]))


def test_a_walk_goes_no_deeper_than_the_pattern() -> None:
    glob = compile_glob("a*/b/*.wav")
    assert glob.may_hold("ax", 0)
    assert not glob.may_hold("x", 0)
    assert not glob.may_hold("c", 1)
    assert not glob.may_hold("d", 2)
