"""Audio files, damaged in seeded ways: bits flipped, ends cut off, headers spliced, extensions swapped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

HEADER_BYTES = 256
"""Where most of what a decoder trusts is."""


def sources(made_formats: Path) -> list[Path]:
    """The files that are damaged: every format that can be made."""
    return sorted(path for path in made_formats.iterdir())


def mutated(paths: list[Path], count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` damaged files: (name, content); the same for the same seed."""
    random_ = random.Random(seed)
    for number in range(count):
        path = paths[number % len(paths)] if number < len(paths) else random_.choice(paths)
        mutation = random_.choice(MUTATIONS)
        data = mutation(bytearray(path.read_bytes()), random_, paths)
        suffix = random_.choice(paths).suffix if random_.random() < 0.25 else path.suffix
        yield f"{number:04d}-{path.stem}-{mutation.__name__}{suffix}", bytes(data)


def flip_bits(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """A few bits anywhere, or many."""
    for _ in range(random_.choice([1, 10, 1000])):
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    return data


def flip_header_bits(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """A few bits of the header."""
    for _ in range(random_.choice([1, 3, 20])):
        data[random_.randrange(min(HEADER_BYTES, len(data)))] ^= 1 << random_.randrange(8)
    return data


def lie_in_header(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """A number in the header becomes the largest, the smallest or anything."""
    at = random_.randrange(min(HEADER_BYTES, len(data)))
    size = random_.choice([1, 2, 4, 8])
    data[at : at + size] = random_.choice([b"\xff" * size, b"\x00" * size, b"\x7f" * size, random_.randbytes(size)])
    return data


def truncate(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """The end is missing; sometimes all but the header."""
    return data[: random_.choice([random_.randrange(len(data)), random_.randrange(min(HEADER_BYTES, len(data)))])]


def splice(data: bytearray, random_: random.Random, paths: list[Path]) -> bytearray:
    """The header of another file before the rest of this one."""
    other = random_.choice(paths).read_bytes()
    cut = random_.choice([16, 44, 100, 4096])
    return bytearray(other[:cut]) + data[cut:]


def blank(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """A stretch was never downloaded: zeros."""
    start = random_.randrange(len(data))
    size = min(random_.choice([10, 1000, 100_000]), len(data) - start)
    data[start : start + size] = bytes(size)
    return data


def repeat(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """A stretch is there twice."""
    start, stop = sorted(random_.randrange(len(data)) for _ in range(2))
    return data[:stop] + data[start:]


def keep(data: bytearray, random_: random.Random, _: list[Path]) -> bytearray:
    """Nothing but, perhaps, the extension."""
    return data


MUTATIONS: list[Callable[[bytearray, random.Random, list[Path]], bytearray]] = [
    flip_bits,
    flip_header_bits,
    lie_in_header,
    truncate,
    splice,
    blank,
    repeat,
    keep,
]
