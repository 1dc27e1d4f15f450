"""A decoder process whose readings misbehave as their clips' ids say: `python -m tests.hostile.decoder FD`.

Everything but the reading of files is the real decoder process. A reading's segments come one after the other, or, if
the uri begins with "together", all at once: all are started before the first one misbehaves.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

import numpy as np

from pipeline.decoding import decode, process, protocol
from pipeline.decoding.segment_decoder import Examples
from pipeline.settings import FrontEnd
from pipeline.types import DecodeRequest, Probe


def read(request: DecodeRequest, front_end: FrontEnd, progress: decode.Progress) -> Iterator[decode.Item]:
    """Clip id "N" gives N examples, each filled with its index; "N VERB" gives N and then does what VERB says."""
    misbehave(request.uri)
    indices = range(len(request.segments))
    if request.uri.startswith("together"):
        for index in indices:
            yield protocol.Started(index)
    for index in indices:
        if not request.uri.startswith("together"):
            yield protocol.Started(index)
        segment = request.segments[index]
        count, _, verb = segment.clip.id.partition(" ")
        for first in range(0, int(count), 64):
            rows = np.arange(first, min(first + 64, int(count)), dtype=np.float32)
            yield Examples(index, first, np.broadcast_to(rows[:, None, None], (len(rows), 96, 64)))
        misbehave(verb)
        if verb == "slow":
            for _ in range(30):
                time.sleep(0.1)
                progress()
        if verb == "gap":
            yield Examples(index, int(count) + 1, np.zeros((1, 96, 64), np.float32))
        if verb != "silent end":
            yield protocol.Ended(index, int(count), int(count) * 0.96, 16000, 1, "WAV/PCM_16", False)


def ask(uri: str, progress: decode.Progress, place: str = "") -> Probe | None:
    """A uri "N" has N frames; "none" cannot be opened; a uri that says how to misbehave does."""
    misbehave(uri)
    return None if uri == "none" else Probe(int(uri), 16000, True)


def misbehave(verb: str) -> None:
    """Do it, if it is one of these."""
    if verb == "segfault":
        ctypes.string_at(0)
    elif verb == "stopped":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
    elif verb == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "hang":
        time.sleep(1000)
    elif verb == "hang in C":
        ctypes.PyDLL(None).sleep(1000)  # PyDLL keeps the GIL: no other thread of the process runs
    elif verb == "balloon":
        held = []
        while True:
            held.append(bytearray(1 << 24))
    elif verb == "raise":
        raise ValueError("no such thing")
    elif verb == "garbage":
        os.write(int(sys.argv[1]), b"\x00\x00\x00\x04\xff\xfe\x00{")
        time.sleep(1000)
    elif verb == "huge":
        os.write(int(sys.argv[1]), b"\x7f\xff\xff\xff")
        time.sleep(1000)
    elif verb == "half a message":
        os.write(int(sys.argv[1]), b"\x00\x00\x00\x40[")
        time.sleep(1000)
    elif verb == "chatter":
        for _ in range(1000):
            os.write(2, b"[mp3 @ 0x55] Header missing\n" * 100)


if __name__ == "__main__":
    process.main(read, ask)
