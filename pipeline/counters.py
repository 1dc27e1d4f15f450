"""The counters and distributions that Beam is given, by name: the same on every engine, for displays and alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.types import Failure


@dataclass(frozen=True)
class Named:
    """A metric.

    Attributes:
      namespace, name: Beam's.
      kind: "counter" or "distribution".
      meaning: what it counts, for the documentation.
    """

    namespace: str
    name: str
    kind: str
    meaning: str

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    def metric(self) -> Any:
        """Beam's object, for a step to count with."""
        from apache_beam.metrics import Metrics

        return getattr(Metrics, self.kind)(self.namespace, self.name)


CLIPS = Named(
    "extract",
    "clips",
    "counter",
    "clips that ended, with or without a record: with the last segment that was still to be read",
)
FAILED = Named("extract", "failed_REASON", "counter", "those without a record, by reason")
SKIPPED = Named("extract", "skipped_REASON", "counter", "those that a setting asked to leave out, by reason")
DECODED = Named("extract", "examples", "counter", "decoded examples")
AUDIO_MS = Named("extract", "audio_ms", "counter", "milliseconds of decoded audio")
DECODE_MS = Named("extract", "decode_ms", "counter", "milliseconds that decoders worked")
EMBEDDED = Named("embed", "examples", "counter", "rows that the network computed")
BATCHES = Named("embed", "batches", "counter", "calls of the network")
BATCH_FILL = Named("embed", "batch_fill", "distribution", "rows of a batch; less than 64 at a bundle's end")
INFERENCE_MS = Named("embed", "inference_ms", "distribution", "milliseconds of a call")
ROW_PARTS = Named("rows", "parts", "counter", "parts of row files")

ALL = (
    CLIPS, FAILED, SKIPPED, DECODED, AUDIO_MS, DECODE_MS, EMBEDDED, BATCHES, BATCH_FILL, INFERENCE_MS, ROW_PARTS,
)  # fmt: skip


def of_failure(failure: Failure) -> Named:
    """A clip without a record -> the counter of its reason."""
    named = SKIPPED if failure.skipped else FAILED
    return Named(named.namespace, named.name.replace("REASON", failure.reason), named.kind, named.meaning)
