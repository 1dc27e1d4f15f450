"""Patterns of paths: `*`, `?` and `[..]` within a level, `**` across levels. Pure.

`**/` stands for zero or more folders. Hidden names (a leading dot) match only where the pattern itself has the dot; "."
and "..", which object stores have as parts of names like others, are not hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPECIAL = re.compile(r"[*?[]")
_NOT_HIDDEN = r"(?!\.(?!\.?(?:/|\Z)))"


def below(folder: str) -> str:
    """A folder of an object store, with or without a slash at its end -> what the names of all in it begin with.

    Names of objects are kept as they are: a folder of the empty name is a folder, too.

    >>> below("s3://bucket/a"), below("s3://bucket/a/"), below("s3://bucket/a//")
    ('s3://bucket/a/', 's3://bucket/a/', 's3://bucket/a//')
    """
    return f"{folder.removesuffix('/')}/"


def is_glob(text: str) -> bool:
    """Whether a pattern or one of its components holds a character with a meaning of its own."""
    return _SPECIAL.search(text) is not None


@dataclass(frozen=True)
class Glob:
    """A compiled pattern of paths relative to some folder, their components joined by "/".

    Attributes:
      whole: matches a relative path.
      levels: match the components of folders, from the top, as far down as each component has a level of its own.
      deep: whether paths may be deeper than `levels`.
      dotted: whether the pattern itself has hidden names.
    """

    whole: re.Pattern[str]
    levels: tuple[re.Pattern[str], ...]
    deep: bool
    dotted: bool = False

    def matches(self, relative: str) -> bool:
        """Whether a file's path matches."""
        return self.whole.fullmatch(relative) is not None

    def may_hold(self, name: str, depth: int) -> bool:
        """Whether files below a folder may match, by its name and its own depth (0: directly below the top)."""
        if depth < len(self.levels):
            return self.levels[depth].fullmatch(name) is not None
        return self.deep and (self.dotted or not name.startswith("."))


def compile_glob(pattern: str) -> Glob:
    """A relative pattern -> its matcher.

    >>> compile_glob("**/*.wav").matches("top.wav"), compile_glob("*.wav").matches("a/b.wav")
    (True, False)
    """
    components = pattern.split("/")
    whole, levels, deep = "", [], False
    for position, component in enumerate(components):
        last = position == len(components) - 1
        text = _component(component)
        if component == "**" and not last:
            text = f"(?:{_NOT_HIDDEN}[^/]*/)*"
        elif not last:
            text += "/"
        whole += text
        deep = deep or "**" in component
        if not deep and not last:
            levels.append(re.compile(_component(component), re.DOTALL))
    dotted = any(component.startswith(".") for component in components)
    return Glob(re.compile(whole, re.DOTALL), tuple(levels), deep, dotted)


def _component(component: str) -> str:
    """The regular expression of one component."""
    result = "" if component.startswith(".") else _NOT_HIDDEN
    rest = component
    while rest:
        if rest.startswith("**"):
            result, rest = result + f"(?:[^/]|/{_NOT_HIDDEN})*", rest.lstrip("*")
        elif rest[0] == "*":
            result, rest = result + "[^/]*", rest[1:]
        elif rest[0] == "?":
            result, rest = result + "[^/]", rest[1:]
        elif found := re.match(r"\[(!?)(\]?[^\]]*)\]", rest, re.DOTALL):
            inside = re.sub(r"([\\\[&~|^])", r"\\\1", found[2])
            inside = inside.replace("]", r"\]")
            result, rest = result + f"(?!/)[{'^' if found[1] else ''}{inside}]", rest[found.end() :]
        else:
            result, rest = result + re.escape(rest[0]), rest[1:]
    return result


EVERY_NAME = Glob(re.compile("[^/]+", re.DOTALL), (), False)
"""All files directly in a folder, hidden ones too."""
