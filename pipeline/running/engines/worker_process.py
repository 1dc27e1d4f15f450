"""A worker process: `python -m pipeline.running.engines.worker_process FOLDER` serves a graph in that folder.

Standard input gives the graph as a JSON object of what Beam's worker expects in environment variables: where to reach
the runner. The process ends with the graph, or with its standard input, at once; at a signal when what it has finished
is written.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import IO

from pipeline.decoding import decoders
from pipeline.output.journal import writer
from pipeline.running import garbage
from pipeline.running.engines import light_import
from pipeline.running.engines.worker_processes import STORE_OPTIONS
from pipeline.storage import options

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Serves until the graph has ended, or the one who asks has gone."""
    os.chdir(sys.argv[1])
    garbage.collect_seldom()
    # Ctrl-C reaches all processes of a terminal, and the command asks as well: it says what there is to say.
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)
    environment = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), name="parent", daemon=True).start()
    # What Beam logs goes to the runner as long as that listens; afterwards it is about the runner's being gone.
    logging.getLogger().addHandler(logging.NullHandler())
    options.adopt(json.loads(environment[STORE_OPTIONS]))
    with decoders.kept():
        _serve(environment)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of Beam and gRPC may hang in the interpreter's teardown


def _serve(environment: dict[str, str]) -> None:
    """Does what a runner asks for until it says that the graph has ended."""
    light_import.beam()
    from apache_beam.runners.worker import sdk_worker, sdk_worker_main

    # Beam prints the traceback of what failed, besides logging and answering it: the command says what there is to say.
    vars(sdk_worker)["print"] = lambda *values, **how: None
    handler, harness, _ = sdk_worker_main.create_harness(environment)
    try:
        harness.run()
    finally:
        if handler:
            logging.getLogger().removeHandler(handler)
            handler.close()


def _stop(number: int, frame: object) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    writer.keep_all()
    os._exit(128 + number)


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os._exit(0)


if __name__ == "__main__":
    main()
