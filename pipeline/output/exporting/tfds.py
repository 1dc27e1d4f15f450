"""Records -> a data set of TensorFlow Datasets, made by its own library, which opens it without this package."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import storage
from pipeline.extras import DISTRIBUTION, needs
from pipeline.formatting import text
from pipeline.output import provenance
from pipeline.output.exporting import sets
from pipeline.output.exporting.clip_rows import ClipRows
from pipeline.output.loading.dataset import WIDTH, Level
from pipeline.output.loading.grouping import grouped
from pipeline.output.provenance import Provenance

SPLIT = "train"
"""What the library's examples and defaults call a set's only part."""
EXAMPLES_OF_A_CALL = 8192
"""The library writes the set's description again with each call."""
EXAMPLES_OF_A_FILE = 65_536
"""Some 40 MB."""
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def expect_packages() -> None:
    """Raises MissingPackagesError without tensorflow-datasets."""
    needs("tfds", "tensorflow_datasets", for_="--to tfds")


def write(rows: Iterator[ClipRows], folder: Path, pattern: str, level: Level, destination: str) -> tuple[int, int]:
    """Clips and their vectors -> a data set in a folder; how many clips and vectors it holds.

    An example a vector, file after file in the records' order: `id`, `start_seconds` and `end_seconds` of its clip
    (float32, NaN for times that there are not), `labels` (int64, as many as there are), `embedding` float32 [128], and
    with the level "frame" which of the clip's vectors it is (`frame`). Its metadata have the provenance, and the
    classes' names.

    Raises:
      OSError: a file cannot be written.
    """
    from vggish_core.quiet import import_tensorflow

    tf = import_tensorflow()  # before the library does, with its log
    tfds = importlib.import_module("tensorflow_datasets")
    folders = sets.directories(pattern)
    made = provenance.of(pattern, "use")
    name, version = identity(destination)
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name=name, version=tfds.core.Version(version), data_dir=str(folder), module_name=__name__
        ),
        description=_description(made, sets.title(folders), level),
        features=_features(tfds, level),
        metadata=tfds.core.MetadataDict(
            provenance=made.to_json(), classes={str(label): name for label, name in sets.class_names(folders).items()}
        ),
    )
    clips = vectors = 0

    def examples() -> Iterator[dict[str, Any]]:
        nonlocal clips
        for each in rows:
            clips += 1
            yield from _examples(each, level)

    try:
        writer = tfds.core.SequentialWriter(info, EXAMPLES_OF_A_FILE)
        writer.initialize_splits([SPLIT])
        for group in grouped(examples(), lambda _: 1, EXAMPLES_OF_A_CALL):
            writer.add_examples({SPLIT: group})
            vectors += len(group)
        writer.close_all()
    except tf.errors.OpError as error:  # a full disk, for one
        raise OSError(f"{destination}: {error.message}") from error
    return clips, vectors


def identity(destination: str) -> tuple[str, str]:
    """A folder -> name and version of the data set in it: this package's version where the folder's name is none.

    >>> identity("data/garden_birds/1.2.0"), identity("/data/Garden birds")[0]
    (('garden_birds', '1.2.0'), 'garden_birds')
    """
    path = Path(storage.absolute(storage.local_path(destination)))
    own = _VERSION.fullmatch(path.name)
    installed = _VERSION.match(metadata.version(DISTRIBUTION))
    version = own or installed
    name = re.sub(r"\W+", "_", (path.parent if own else path).name, flags=re.ASCII).strip("_").lower()
    # The library's names begin with a letter.
    return name if name[:1].isalpha() else f"set_{name}".rstrip("_"), version[0] if version else "0.0.0"


def _features(tfds: Any, level: Level) -> Any:
    features = tfds.features
    found = {
        "id": features.Text(),
        "start_seconds": features.Scalar(np.float32),
        "end_seconds": features.Scalar(np.float32),
        "labels": features.Sequence(np.int64),
        "embedding": features.Tensor(shape=(WIDTH,), dtype=np.float32),
    }
    return features.FeaturesDict({**found, "frame": features.Scalar(np.int64)} if level == "frame" else found)


def _examples(each: ClipRows, level: Level) -> Iterator[dict[str, Any]]:
    record = each.record
    start_s, end_s = (np.nan if time_s is None else time_s for time_s in (record.start_s, record.end_s))
    clip = {"id": text(record.id), "start_seconds": start_s, "end_seconds": end_s, "labels": list(record.labels)}
    for frame, vector in enumerate(each.vectors):
        yield {**clip, "embedding": vector, **({"frame": frame} if level == "frame" else {})}


def _description(made: Provenance, title: str, level: Level) -> str:
    """What the examples are, and what made them."""
    what = "a frame an example" if level == "frame" else "a clip an example, the mean of its frames"
    lines = [f"VGGish embeddings of {title}: {what}, dequantized; exported by {DISTRIBUTION}."]
    lines.append(f"What made them ({made.source}): {json.dumps(made.settings)}")
    for kind, model in made.models.items():
        digest = f", sha256 {model['sha256']}" if model["sha256"] else ""
        lines.append(f"{kind}: {model['name']}{digest}")
    return "\n".join(lines)
