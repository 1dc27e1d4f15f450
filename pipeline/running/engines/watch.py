"""A running job as seen by its submitter: its stage, and the engine's counters and page.

On this machine workers keep tallies (`pipeline.running.counts`); elsewhere Beam's counters are asked for now and then,
where the engine gives them while the job runs.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pipeline import counters
from pipeline.running.counts import Counts

_log = logging.getLogger(__name__)

POLL_S = 10.0
"""Between two questions to the engine: each is a call over the network."""


class Watch:
    """The state of a running job; updated by the thread that runs it, read by the one that draws.

    Attributes:
      stage: "planning" or "embedding".
      page: the running job's URL, "" where the engine has none.
      began_at: when the engine was given the job, on the monotonic clock; 0 before.
    """

    def __init__(self, poll_s: float = POLL_S) -> None:
        self.stage = "planning"
        self.page = ""
        self.began_at = 0.0
        self._poll_s = poll_s
        self._lock = threading.Lock()
        self._result: Any = None
        self._counts = Counts()
        self._due = 0.0

    def begin(self) -> None:
        """A graph is handed to the engine."""
        self.began_at = time.monotonic()
        self.stage = "embedding"

    def running(self, result: Any, page: str = "") -> None:
        """The engine took it: Beam's `PipelineResult`, and the job's URL."""
        with self._lock:
            self._result, self.page, self._due = result, page, time.monotonic() + self._poll_s

    def counts(self) -> Counts:
        """What the engine counts, at most `poll_s` old."""
        with self._lock:
            if self._result is not None and time.monotonic() >= self._due:
                self._ask()
                self._due = time.monotonic() + self._poll_s
            return replace(self._counts)

    def _ask(self) -> None:
        # A portable engine's result keeps its first answer: a copy is asked.
        self._counts = counts_of(copy.copy(self._result)) or self._counts


def counts_of(result: Any) -> Counts:
    """A job's result -> what its engine has counted; nothing of what it does not report, or not yet."""
    try:
        found = result.metrics().query()["counters"]
    except Exception:  # engines raise what they like
        _log.debug("the engine gives no metrics", exc_info=True)
        return Counts()
    return counted(found)


def counted(results: Iterable[Any]) -> Counts:
    """Beam's counters (`MetricResult`s) -> their counts; those that the engine does not report are 0."""
    found = Counts()
    failed = counters.FAILED.name.removesuffix("REASON")
    for counter in results:
        name = (counter.key.metric.namespace, counter.key.metric.name)
        values = [value for value in (counter.attempted, counter.committed) if value is not None]
        value = max(values, default=0)
        if name == counters.CLIPS.key:
            found.clips += value
        elif name == counters.AUDIO_MS.key:
            found.audio_s += value / 1000
        elif name == counters.EMBEDDED.key:
            found.examples += value
        elif name[0] == counters.FAILED.namespace and name[1].startswith(failed):
            found.failed += value
    return found


def page_of(result: Any, options: Any) -> str:
    """A submitted job and its `PipelineOptions` -> the URL of its page; "" where the engine has none."""
    from apache_beam.options.pipeline_options import FlinkRunnerOptions, GoogleCloudOptions, StandardOptions

    runner = (options.view_as(StandardOptions).runner or "").lower()
    if runner == "dataflowrunner":
        cloud = options.view_as(GoogleCloudOptions)
        job = result.job_id()
        return f"https://console.cloud.google.com/dataflow/jobs/{cloud.region}/{job}?project={cloud.project}"
    master = options.view_as(FlinkRunnerOptions).flink_master
    if runner == "flinkrunner" and not master.startswith("["):
        return master if "://" in master else f"http://{master}/#/job/running"
    return ""
