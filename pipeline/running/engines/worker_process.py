"""A worker process: a graph on each line of standard input -> a line on standard output when that graph has ended.

`python -m pipeline.running.engines.worker_process FOLDER` works in that folder, the user's. A graph is a JSON object of
what Beam's worker expects in environment variables: where to reach the runner. What is kept from one to the next is
what modules keep, the network above all, and decoders. The process ends with its standard input, at once.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from typing import IO

from pipeline.decoding import decoders
from pipeline.running import garbage
from pipeline.running.engines.worker_processes import STORE_OPTIONS
from pipeline.storage import options


def main() -> None:
    """Serve until the one who asks has gone."""
    os.chdir(sys.argv[1])
    garbage.collect_seldom()
    # Ctrl-C reaches all processes of a terminal: the command says what there is to say.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    # What Beam logs goes to the runner as long as that listens; afterwards it is about the runner's being gone.
    logging.getLogger().addHandler(logging.NullHandler())
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, orders), name="orders", daemon=True).start()
    with decoders.kept():
        while True:
            serve(json.loads(orders.get()))
            answers.write("ended\n")
            answers.flush()


def serve(environment: Mapping[str, str]) -> None:
    """Where a runner is -> what it asks for is done, until it says that the graph has ended."""
    from apache_beam.runners.worker import sdk_worker, sdk_worker_main

    options.adopt(json.loads(environment[STORE_OPTIONS]))

    # Beam prints the traceback of what failed, besides logging and answering it: the command says what there is to say.
    vars(sdk_worker)["print"] = lambda *values, **how: None
    handler, harness, _ = sdk_worker_main.create_harness(environment)
    try:
        harness.run()
    finally:
        if handler:
            logging.getLogger().removeHandler(handler)
            handler.close()


def _read(lines: IO[str], orders: queue.SimpleQueue[str]) -> None:
    for line in lines:
        orders.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
