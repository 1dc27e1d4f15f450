"""How numbers, times and names are written for people."""

from __future__ import annotations

TOO_LONG = 60
"""Letters of an id that are shown."""


def duration(seconds: float) -> str:
    """Seconds -> a time for people.

    >>> duration(42), duration(3725), duration(float("inf"))
    ('42 s', '1 h 2 min', 'unknown time')
    """
    if seconds == float("inf"):
        return "unknown time"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {s} s" if minutes else f"{s} s"


def times_real_time(rate: float) -> str:
    """Seconds of audio a second -> the same for people.

    >>> times_real_time(48.4), times_real_time(4.24)
    ('48 × real time', '4.2 × real time')
    """
    return f"{rate:,.0f} × real time" if rate >= 9.95 else f"{rate:.1f} × real time"


def clips(number: int) -> str:
    """A number of clips.

    >>> clips(1), clips(2000)
    ('1 clip', '2,000 clips')
    """
    return number_of(number, "clip")


def number_of(number: int, what: str, several: str = "") -> str:
    """A number of something, whose plural is its name with an s unless it is given.

    >>> number_of(1, "file"), number_of(2000, "file"), number_of(0, "class", "classes")
    ('1 file', '2,000 files', '0 classes')
    """
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def count(value: float) -> str:
    """A number -> it, with commas."""
    return f"{value:,}"


def percent(share: float) -> str:
    """A share, 0 to 1 -> per cent."""
    return f"{share:.1%}" if share < 0.9995 else "100%"


def hours(value: float) -> str:
    """Seconds -> one short number for them."""
    if value >= 36_000:
        return f"{value / 3600:,.0f} h"
    return f"{value / 3600:.1f} h" if value >= 3600 else f"{value / 60:.1f} min"


def seconds(value: float) -> str:
    """Seconds -> a time precise enough for short ones."""
    return f"{value:.2f} s" if value < 60 else duration(value)


def moment(value: str) -> str:
    """A time, UTC in ISO 8601 -> the same for people."""
    return value.replace("T", " at ").replace("+00:00", " UTC")


def text(value: object) -> str:
    """Text, perhaps a file's name that is not UTF-8 -> what a page can hold."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def plain(value: object) -> str:
    """Text from data -> what Matplotlib draws as it stands: it takes what is between dollar signs for a formula."""
    return text(value).replace("$", r"\$")


def short(value: object, most: int = TOO_LONG) -> str:
    """A long id or path -> its end, which says more than its beginning."""
    shown = text(value)
    return shown if len(shown) <= most else f"…{shown[1 - most :]}"


def begun(value: object, most: int = TOO_LONG) -> str:
    """A long list of labels -> its beginning."""
    shown = text(value)
    return shown if len(shown) <= most else f"{shown[: most - 1].rstrip(', ')}…"


def printable(text: str) -> str:
    """Text that may hold bytes of a file's name that are not UTF-8 -> text that a row can hold, with escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
