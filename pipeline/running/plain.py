"""Numbers, text, arrays, containers and our dataclasses <-> bytes: JSON, and arrays as they lie in memory.

What jobs send between workers, instead of pickles: the fields have names, and reading it runs no code of a stranger's.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_OURS = "pipeline."


def dumps(value: Any) -> bytes:
    """A value -> bytes.

    Raises:
      TypeError: something in it is none of these.
    """
    arrays: list[np.ndarray] = []
    head = json.dumps(_encoded(value, arrays), separators=(",", ":")).encode()
    return b"\n".join([head, b"".join(array.tobytes() for array in arrays)])


def loads(data: bytes) -> Any:
    """The inverse of `dumps`; arrays are read-only, and numbers of NumPy are Python's."""
    head, _, content = data.partition(b"\n")
    return _decoded(json.loads(head), content)


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [_encoded(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_encoded(item, arrays) for item in value]}
    if isinstance(value, Mapping):
        return {"map": [[_encoded(key, arrays), _encoded(item, arrays)] for key, item in value.items()]}
    if isinstance(value, np.ndarray):
        at = sum(array.nbytes for array in arrays)
        arrays.append(np.ascontiguousarray(value))
        return {"array": [at, value.dtype.str, value.shape]}
    kind = type(value)
    if dataclasses.is_dataclass(value) and kind.__module__.startswith(_OURS):
        fields = {field.name: _encoded(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
        return {"class": [kind.__module__, kind.__name__], "fields": fields}
    raise TypeError(f"{kind.__module__}.{kind.__name__} is no plain value")


def _decoded(head: Any, content: bytes) -> Any:
    if isinstance(head, list):
        return [_decoded(item, content) for item in head]
    if not isinstance(head, dict):
        return head
    if "tuple" in head:
        return tuple(_decoded(item, content) for item in head["tuple"])
    if "map" in head:
        return {_decoded(key, content): _decoded(item, content) for key, item in head["map"]}
    if "array" in head:
        at, dtype, shape = head["array"]
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(content, dtype, count, at).reshape(shape)
    module, name = head["class"]
    if not module.startswith(_OURS):
        raise TypeError(f"{module}.{name} is none of ours")
    kind = getattr(importlib.import_module(module), name)
    return kind(**{field: _decoded(item, content) for field, item in head["fields"].items()})
