"""Patterns of file names: `*` within one level, `**` across levels, `?`, `[…]`. Pure text."""

from __future__ import annotations

import re

SPECIAL = re.compile(r"[*?\[]")


def fixed_part(pattern: str) -> str:
    """The directories that a pattern begins with, "/" at the end included; "" if it begins with a special character.

    >>> fixed_part("gs://bucket/audio/**.wav"), fixed_part("audio/a.wav"), fixed_part("*.wav")
    ('gs://bucket/audio/', 'audio/', '')
    """
    special = SPECIAL.search(pattern)
    return pattern[: pattern.rfind("/", 0, special.start() if special else len(pattern)) + 1]


def expression(pattern: str) -> re.Pattern[str]:
    """A pattern -> the regular expression of what it matches, as a whole; `**/` is any number of directories, or none.

    >>> bool(expression("**/*.wav").fullmatch("a.wav")), bool(expression("*.wav").fullmatch("b/a.wav"))
    (True, False)
    """
    parts, position = [], 0
    for token in re.finditer(r"\*\*/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]", pattern):
        parts.append(re.escape(pattern[position : token.start()]))
        parts.append(_TRANSLATED.get(token[0]) or _character_class(token[0]))
        position = token.end()
    parts.append(re.escape(pattern[position:]))
    return re.compile("".join(parts), re.DOTALL)


_TRANSLATED = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _character_class(text: str) -> str:
    inner = text[1:-1]
    negated = inner[:1] in ("!", "^")
    return f"(?!/)[{'^' if negated else ''}{re.escape(inner[negated:]).replace(chr(92) + '-', '-')}]"


def hidden(relative: str) -> bool:
    """Whether a path below a pattern's fixed part is a hidden file, or below a hidden directory."""
    return relative.startswith(".") or "/." in relative
