"""ESC-10 and an hour's recording on every engine: the same shard bytes and manifest as a plain local run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import command
from tests.engines.conftest import CLIPS, ENGINES, MINUTES, PORTABLE, Running
from tests.graph import MAX_ELEMENT_BYTES

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("standin_weights")]


def facts(output: Path) -> dict[str, Any]:
    """The manifest but for when it was made and on which engine."""
    manifest = command.manifest(output)
    run = manifest.pop("run")
    return {**manifest, "versions": run["versions"], "processor": run["processor"]}


@pytest.fixture(scope="module")
def plain(listing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a plain local run."""
    output = tmp_path_factory.mktemp("plain") / "out"
    done = command.embed(output, "--manifest", listing, "--num_shards", "4", timeout=800)
    assert done.status == 0, done.err
    totals = command.manifest(output)["totals"]
    assert (totals["clips_in"], totals["written"]) == (CLIPS + 1, CLIPS + 1)
    assert totals["audio_seconds"] > 60 * MINUTES
    return output


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_same_bytes_as_a_plain_local_run(engine: Running, plain: Path, listing: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = engine.embed(output, "--manifest", listing, "--num_shards", "4")
    assert done.status == 0, done.err
    assert command.shard_bytes(output) == command.shard_bytes(plain)
    assert facts(output) == facts(plain)


@pytest.mark.parametrize("engine", PORTABLE, indirect=True)
def test_one_model_a_worker_process_and_small_elements(
    engine: Running, listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = listing.read_text().splitlines(keepends=True)[-10:]  # the recording is the last one
    few = tmp_path / "few.jsonl"
    few.write_text("".join(rows))
    engine.log.unlink(missing_ok=True)
    done = engine.embed(tmp_path / "out", "--manifest", few, "--num_shards", "2")
    assert done.status == 0, done.err
    seen = engine.observed()
    assert set(seen.models.values()) == {1}, seen
    workers = set(seen.batches)
    assert len(workers) >= 1
    if engine.in_command:
        assert set(seen.models) == workers  # the command's own process
    else:
        assert len(set(seen.models) - workers) == 1  # the command looks at the model before it starts
    name, size = max(seen.elements.items(), key=lambda item: item[1])
    with capsys.disabled():
        print(f"\n{engine.name}: {len(workers)} worker process, largest shuffled element {name} of {size:,} bytes")
    assert set(seen.elements) <= {"Reading", "Embedding", "Ending", "Failure", "Drop"}
    assert size <= MAX_ELEMENT_BYTES
