"""Audio corpora to VGGish embedding data sets, on Apache Beam.

`embed_corpus` makes a data set, `EmbedAudio`, `ReadEmbeddings` and `WriteEmbeddings` are steps of Beam pipelines of
yours, `load_dataset` reads data sets;
`python -m pipeline.run` is the command. Importing the package loads neither Beam nor TensorFlow: names are resolved
when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.analysis.compare import compare_sets
    from pipeline.analysis.similar.index import Index
    from pipeline.analysis.wanted import Wanted
    from pipeline.checking.verify import verify_output
    from pipeline.corpus.sources import find_corpus
    from pipeline.errors import JobError, UserError
    from pipeline.output.exporting.export import export_arrays
    from pipeline.output.loading.dataset import dequantize, frame_starts, load_dataset
    from pipeline.output.loading.parquet import from_parquet, to_parquet
    from pipeline.output.manifest import Manifest
    from pipeline.output.manifest import read as read_manifest
    from pipeline.output.records import Record, read_records, to_sequence_example
    from pipeline.output.records import parse as parse_record
    from pipeline.reporting.report import write as write_report
    from pipeline.running.clips.elements import EmbeddedClip, FailedClip, LogMelExample, values_of
    from pipeline.running.clips.read import ReadEmbeddings
    from pipeline.running.clips.write import WriteEmbeddings
    from pipeline.running.embed_audio import EmbedAudio
    from pipeline.running.embed_corpus import embed_corpus
    from pipeline.running.log_mel import LogMelExamples, keyed_example
    from pipeline.running.model_handler import VggishModelHandler
    from pipeline.running.progress import Progress
    from pipeline.settings import Decoding, FrontEnd, Job, Model, Output, Update
    from pipeline.types import Clip, Corpus

    __version__: str

_PLACES = {
    "Clip": "types.Clip",
    "Corpus": "types.Corpus",
    "Decoding": "settings.Decoding",
    "EmbedAudio": "running.embed_audio.EmbedAudio",
    "EmbeddedClip": "running.clips.elements.EmbeddedClip",
    "FailedClip": "running.clips.elements.FailedClip",
    "FrontEnd": "settings.FrontEnd",
    "Index": "analysis.similar.index.Index",
    "Job": "settings.Job",
    "JobError": "errors.JobError",
    "LogMelExample": "running.clips.elements.LogMelExample",
    "LogMelExamples": "running.log_mel.LogMelExamples",
    "Manifest": "output.manifest.Manifest",
    "Model": "settings.Model",
    "Output": "settings.Output",
    "Progress": "running.progress.Progress",
    "ReadEmbeddings": "running.clips.read.ReadEmbeddings",
    "Record": "output.records.Record",
    "Update": "settings.Update",
    "UserError": "errors.UserError",
    "VggishModelHandler": "running.model_handler.VggishModelHandler",
    "Wanted": "analysis.wanted.Wanted",
    "WriteEmbeddings": "running.clips.write.WriteEmbeddings",
    "compare_sets": "analysis.compare.compare_sets",
    "dequantize": "output.loading.dataset.dequantize",
    "embed_corpus": "running.embed_corpus.embed_corpus",
    "export_arrays": "output.exporting.export.export_arrays",
    "find_corpus": "corpus.sources.find_corpus",
    "frame_starts": "output.loading.dataset.frame_starts",
    "from_parquet": "output.loading.parquet.from_parquet",
    "keyed_example": "running.log_mel.keyed_example",
    "load_dataset": "output.loading.dataset.load_dataset",
    "parse_record": "output.records.parse",
    "read_manifest": "output.manifest.read",
    "read_records": "output.records.read_records",
    "to_parquet": "output.loading.parquet.to_parquet",
    "to_sequence_example": "output.records.to_sequence_example",
    "values_of": "running.clips.elements.values_of",
    "verify_output": "checking.verify.verify_output",
    "write_report": "reporting.report.write",
}

__all__ = [
    "Clip",
    "Corpus",
    "Decoding",
    "EmbedAudio",
    "EmbeddedClip",
    "FailedClip",
    "FrontEnd",
    "Index",
    "Job",
    "JobError",
    "LogMelExample",
    "LogMelExamples",
    "Manifest",
    "Model",
    "Output",
    "Progress",
    "ReadEmbeddings",
    "Record",
    "Update",
    "UserError",
    "VggishModelHandler",
    "Wanted",
    "WriteEmbeddings",
    "__version__",
    "compare_sets",
    "dequantize",
    "embed_corpus",
    "export_arrays",
    "find_corpus",
    "frame_starts",
    "from_parquet",
    "keyed_example",
    "load_dataset",
    "parse_record",
    "read_manifest",
    "read_records",
    "to_parquet",
    "to_sequence_example",
    "values_of",
    "verify_output",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # as it was installed
        from importlib.metadata import version

        return version("vggish-pipeline")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].rpartition(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
