"""Pairs of clips that are alike as a whole -> groups of clips that hang together."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.analysis.similar.stretches import Stretch

End = tuple[int, bool]
"""A clip's number, and whether it is of the first set; of one set all are."""


def grouped(whole: Sequence[Stretch], same: bool) -> tuple[list[Stretch], dict[End, int]]:
    """Pairs of clips -> those that hang them together in groups, the best first, and each clip's group, from 1.

    Of a group of n clips n - 1 pairs are kept, so that what is there a hundred times is a hundred lines.
    """
    up: dict[End, End] = {}

    def top(end: End) -> End:
        while up.setdefault(end, end) != end:
            up[end] = up[up[end]]
            end = up[end]
        return end

    joined = []
    for each in sorted(whole, key=lambda each: (-each.score, each.first, each.second)):
        first, second = top((each.first, True)), top((each.second, same))
        if first != second:
            up[second] = first
            joined.append(each)
    numbers: dict[End, int] = {}
    for each in joined:
        numbers.setdefault(top((each.first, True)), len(numbers) + 1)
    return joined, {end: numbers[top(end)] for end in up}
