"""The messages between a pool and its decoder processes on a socket, and their framing.

To the decoder: `DecoderSettings` once, then one `DecodeRequest`, `ProbeRequest` or `ExcerptRequest` after the other.
From the decoder: headers, which are JSON, so that nothing that a damaged process may send is ever unpickled; a block's
header is followed by its examples as raw float32. A segment is named by its position in the request.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import numpy as np

from pipeline.settings import FrontEnd
from pipeline.storage.options import Options
from pipeline.types import DecodeRequest

MAX_BLOCK_EXAMPLES = 64
"""Examples in a block, at most: 1.5 MB."""
EXAMPLE_SHAPE = (96, 64)
EXAMPLE_BYTES = math.prod(EXAMPLE_SHAPE) * 4
MAX_HEADER_BYTES = 1 << 20
TOO_LARGE_STATUS = 87
"""Exit status of a decoder that ran into its memory limit."""


class ProtocolError(Exception):
    """A message that no intact decoder sends."""


@dataclass(frozen=True)
class DecoderSettings:
    """The first message to a decoder process.

    Attributes:
      front_end: how audio becomes examples.
      memory_mb: what it may allocate beyond what it has after its imports.
      timeout_s: it ends itself if it makes no progress for clearly longer.
      directory: what relative paths are relative to.
      decoders: how many share the disk of temporary files.
      store_options: of object stores (`pipeline.storage.options`).
    """

    front_end: FrontEnd
    memory_mb: int
    timeout_s: float
    directory: str
    decoders: int = 1
    store_options: Options = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class ProbeRequest:
    """Asks what a file's header says; the answer is `Probed`, or nothing if the file cannot be opened, and `Done`.

    Attributes:
      uri: of the file.
      otherwise: asks how long it is by another route instead (`pipeline.decoding.other_route`).
      place: where in its container it is (`Clip`).
    """

    uri: str
    otherwise: bool = False
    place: str = ""


@dataclass(frozen=True)
class ExcerptRequest:
    """Asks for some seconds of a file to listen to; the answer is `Excerpted` and `Done`.

    Attributes:
      uri: of the file.
      start_s: where they begin.
      seconds: how many, or up to the file's end.
      place: where in its container it is (`Clip`).
    """

    uri: str
    start_s: float
    seconds: float
    place: str = ""


@dataclass(frozen=True)
class Ready:
    """The decoder has imported what it needs and waits for a request."""


@dataclass(frozen=True)
class Alive:
    """Progress without a result: a long stretch is being skipped, a file unpacked."""


@dataclass(frozen=True)
class Started:
    """From here on a segment is being read: a fault concerns it."""

    segment: int


@dataclass(frozen=True)
class Block:
    """`count` examples of a segment from `first_example` on; the next message is their bytes."""

    segment: int
    first_example: int
    count: int


@dataclass(frozen=True)
class Ended:
    """A segment was read; the fields of `pipeline.types.SegmentEnd`."""

    segment: int
    examples: int
    audio_s: float
    sample_rate_hz: int
    channels: int
    format: str
    silent: bool
    damaged: str = ""


@dataclass(frozen=True)
class Failed:
    """A segment gives no record; the fields of `pipeline.types.Failure`."""

    segment: int
    reason: str
    message: str
    skipped: bool = False


@dataclass(frozen=True)
class Probed:
    """The content of a file's header; the fields of `pipeline.types.Probe`."""

    frames: int
    sample_rate_hz: int
    seekable: bool


@dataclass(frozen=True)
class Excerpted:
    """Some seconds of a file; the fields of `pipeline.types.Excerpt`."""

    mp3: str
    missing: str


@dataclass(frozen=True)
class Done:
    """The request, or question, is over; it took `busy_s` seconds here, without those of waiting for the consumer."""

    busy_s: float


Request = DecodeRequest | ProbeRequest | ExcerptRequest
Message = Ready | Alive | Started | Block | Ended | Failed | Probed | Excerpted | Done
_KINDS = {cls.__name__: cls for cls in (Ready, Alive, Started, Block, Ended, Failed, Probed, Excerpted, Done)}


def send(connection: Connection, message: Message) -> None:
    """Send a header."""
    connection.send_bytes(json.dumps([type(message).__name__, asdict(message)]).encode())


def send_block(connection: Connection, segment: int, first_example: int, examples: np.ndarray) -> None:
    """Send examples float32 [k, 96, 64], k <= 64, with their header."""
    send(connection, Block(segment, first_example, len(examples)))
    connection.send_bytes(np.ascontiguousarray(examples, np.float32).data.cast("B"))


def receive(connection: Connection) -> Message:
    """The next header.

    Raises:
      EOFError, OSError: if the other end is gone, or stalls within a message.
      ProtocolError: if it is none.
    """
    try:
        name, fields = json.loads(connection.recv_bytes(MAX_HEADER_BYTES))
        message = _KINDS[name](**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolError(f"the decoder sent no message: {error}") from error
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if type(value).__name__ != field.type:  # annotations are strings: see the __future__ import
            raise ProtocolError(f"the decoder sent {name}.{field.name} = {value!r}, which is not {field.type}")
    if isinstance(message, Block) and not 1 <= message.count <= MAX_BLOCK_EXAMPLES:
        raise ProtocolError(f"the decoder announced a block of {message.count} examples")
    if isinstance(message, Probed) and (message.frames < 0 or message.sample_rate_hz < 1):
        raise ProtocolError(f"the decoder sent {message}")
    return message


def receive_examples(connection: Connection, block: Block) -> np.ndarray:
    """The examples float32 [k, 96, 64] (read-only) that follow a block's header.

    Raises:
      EOFError, OSError: as `receive`.
      ProtocolError: if there are fewer or more bytes.
    """
    payload = connection.recv_bytes(block.count * EXAMPLE_BYTES)
    if len(payload) != block.count * EXAMPLE_BYTES:
        raise ProtocolError(f"the decoder announced {block.count} examples and sent {len(payload)} bytes")
    return np.frombuffer(payload, np.float32).reshape(block.count, *EXAMPLE_SHAPE)
