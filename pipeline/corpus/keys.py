"""Unique keys of clips, and failures for clips that share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from pipeline.corpus.packed import Packed
from pipeline.corpus.tables import SourceError
from pipeline.types import Clip, ClipKey, Corpus, DuplicateIds, Failure

Place = str | int
"""A file, or a line of a list."""


class Keys:
    """The keys of clips, and where they come from.

    Args:
      uri: of the list, for messages; "" for files that patterns match.
      policy: "stop" at the second clip of a key, or have each of them "fail".
      remedy: what to do about two clips of one key.
    """

    def __init__(
        self, uri: str, policy: DuplicateIds = "stop", remedy: str = "Remove one, or give them ids of their own"
    ) -> None:
        self._uri = uri
        self._policy = policy
        self._remedy = remedy
        self._places: dict[ClipKey, Place] = {}
        self._shared: dict[ClipKey, list[Place]] = {}  # by keys of several clips

    def add(self, clip: Clip, place: Place) -> None:
        """A clip, and the line or file that it comes from.

        Raises:
          SourceError: its key is another one's, unless such clips are to fail.
        """
        key = clip.key
        if key not in self._places:
            self._places[key] = place
            return
        places = self._shared.setdefault(key, [self._places[key]])
        places.append(place)
        if self._policy == "stop":
            raise SourceError(
                f"{self._uri}: {_alike(clip, places)}" if self._uri else _alike(clip, places, "inputs"),
                f"{self._remedy}; or have them fail with --duplicate_ids fail",
            )

    def apart(self, failure: Failure, place: Place) -> Failure:
        """A failure without a key, such as a row without times -> the same under its own key."""
        clip = failure.clip
        while clip.key in self._places:
            clip = replace(clip, id=f"{clip.id}, {_all([place])}")
        self._places[clip.key] = place
        return failure if clip is failure.clip else replace(failure, clip=clip)

    def settled(self, corpus: Corpus) -> Corpus:
        """The added clips -> those with unique keys, and a failure for each of the others."""
        if not self._shared:
            return corpus
        clips: Packed[Clip] = Packed()
        failures: Packed[Failure] = Packed()
        names: Counter[str] = Counter()
        items: Iterable[Clip | Failure] = chain(corpus.clips, corpus.failures)
        for item in items:
            clip = item.clip if isinstance(item, Failure) else item
            if places := self._shared.get(clip.key):
                name = f"{clip.id} ({clip.uri})" if clip.uri else clip.id
                names[name] += 1
                own = replace(clip, id=name if names[name] == 1 else f"{name} {names[name]}")
                what = _alike(clip, places, "" if self._uri else "inputs")
                failures.append(Failure(own, "find", "duplicate_id", what))
            elif isinstance(item, Failure):
                failures.append(item)
            else:
                clips.append(item)
        return Corpus(clips, failures)


def _alike(clip: Clip, places: Sequence[Place], inputs: str = "") -> str:
    """The message about a clip that is at several places."""
    if inputs:
        return f"{'two' if len(places) == 2 else len(places)} {inputs} have the id {clip.id!r}: {_all(places)}"
    end = "its end" if clip.end_s is None else f"{clip.end_s:g} s"
    return f"{_all(places)} are the same clip, {clip.id!r} from {clip.start_s:g} s to {end}"


def _all(places: Sequence[Place]) -> str:
    shown = [f"line {place}" if isinstance(place, int) else place for place in places[:5]]
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return (" and ".join(shown) if len(shown) == 2 else ", ".join(shown)) + more
