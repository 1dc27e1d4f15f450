"""Clips of ESC-10 and a long recording on every engine: the same shard bytes and manifest as a plain local run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import command
from tests.engines.conftest import ENGINES, Corpus, Running, engines
from tests.graph import MAX_ELEMENT_BYTES

pytestmark = pytest.mark.usefixtures("standin_weights")


def facts(output: Path) -> dict[str, Any]:
    """The manifest but for when it was made and on which engine."""
    manifest = command.manifest(output)
    run = manifest.pop("run")
    return {**manifest, "versions": run["versions"], "processor": run["processor"]}


@pytest.fixture(scope="module")
def plain(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a plain local run."""
    output = tmp_path_factory.mktemp("plain") / "out"
    done = command.embed(output, "--manifest", corpus.listing, "--num_shards", "4")
    assert done.status == 0, done.err
    totals = command.manifest(output)["totals"]
    assert (totals["clips_in"], totals["written"]) == (corpus.clips + 1, corpus.clips + 1)
    assert totals["audio_seconds"] > 60 * corpus.minutes
    return output


# The parts of jobs-external, the job service and the pool of workers, are those of two others.
@pytest.mark.parametrize("engine", engines(*ENGINES, full={"jobs-external"}), indirect=True)
def test_same_bytes_as_a_plain_local_run(
    engine: Running, plain: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    done = engine.embed(output, "--manifest", corpus.listing, "--num_shards", "4")
    assert done.status == 0, done.err
    assert command.shard_bytes(output) == command.shard_bytes(plain)
    assert facts(output) == facts(plain)
    assert not [process for process in psutil.process_iter(["cmdline"]) if engine.log.parent / "prism" in
                map(Path, process.info["cmdline"] or ())]  # fmt: skip
    if engine.portable:
        with capsys.disabled():
            print(f"\n{engine.name}: {one_model_a_process_and_small_elements(engine)}")


def one_model_a_process_and_small_elements(engine: Running) -> str:
    """Asserts both of what was observed -> what was seen."""
    seen = engine.observed()
    assert set(seen.models.values()) == {1}, seen
    workers = set(seen.batches)
    # The command looks at the model before it starts; its own process is the worker, or another one is.
    assert len(set(seen.models) - workers) == (0 if engine.in_command else 1), seen
    name, size = max(seen.elements.items(), key=lambda item: item[1])
    assert set(seen.elements) <= {
        "UnitRef",
        "DecodeRequest",
        "RowsRef",
        "StagedShard",
        "ShardEntry",
        "Failure",
        "Removal",
    }
    assert size <= MAX_ELEMENT_BYTES
    return f"{len(workers)} worker process(es), a model each; largest shuffled element {name} of {size:,} bytes"
