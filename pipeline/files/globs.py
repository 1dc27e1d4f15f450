"""Patterns of paths: `*`, `?` and `[..]` within a level, `**` across levels. Pure.

`**/` stands for zero or more folders. Hidden names (a leading dot) match only where the pattern itself has the dot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPECIAL = re.compile(r"[*?[]")


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
    """

    whole: re.Pattern[str]
    levels: tuple[re.Pattern[str], ...]
    deep: bool

    def matches(self, relative: str) -> bool:
        """Whether a file's path matches."""
        return self.whole.fullmatch(relative) is not None

    def may_hold(self, name: str, depth: int) -> bool:
        """Whether files below a folder may match, by its name and its own depth (0: directly below the top)."""
        if depth < len(self.levels):
            return self.levels[depth].fullmatch(name) is not None
        return self.deep


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
            text = r"(?:(?!\.)[^/]+/)*"
        elif not last:
            text += "/"
        whole += text
        deep = deep or "**" in component
        if not deep and not last:
            levels.append(re.compile(_component(component), re.DOTALL))
    return Glob(re.compile(whole, re.DOTALL), tuple(levels), deep)


def _component(component: str) -> str:
    """The regular expression of one component."""
    result = "" if component.startswith(".") else r"(?!\.)"
    rest = component
    while rest:
        if rest.startswith("**"):
            result, rest = result + r"(?:[^/]|/(?!\.))*", rest.lstrip("*")
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
