"""Names in a manifest lead nowhere but into the output's folder: what a commit moves is the output's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.output import manifest, resume
from pipeline.output.layout import OutputError, is_shard, is_staged
from tests import outputs

ENTRY = {
    "index": 0,
    "name": "embeddings-00000-of-00001.tfrecord",
    "records": 1,
    "failed": 0,
    "skipped": 0,
    "examples": 1,
    "audio_seconds": 1.0,
    "bytes": 10,
    "sha256": "0" * 64,
    "ledger_sha256": "0" * 64,
    "failures": {},
    "skips": {},
}
STAGED = "_state/staged/0123456789ab-0123456789ab-00000-0a1b2c3d"
PARTS = [
    "..",
    ".",
    "",
    "/",
    "a",
    "_state",
    "staged",
    "array",
    "~",
    "C:",
    "\\",
    "\n",
    "\0",
    "gs://b",
    "file://",
    "%2e%2e",
]
HOSTILE = [
    "/etc/passwd",
    "../x",
    "_state/staged/../../../x",
    "_state/staged/..",
    "_state/staged//etc/passwd",
    "_state/staged/",
    "_state/array/a/b",
    "gs://bucket/x",
    "_state/staged/gs://bucket/x",
    "memory://b/_state/staged/x",
    "_state/../_state/staged/x",
    "_state/staged/x\n",
    "_state/staged/x\0",
    "_state/lock.json",
    "manifest",
    "",
]


NEW = json.loads(manifest.new(outputs.job("x", 1)).to_json())


def read(**changes: Any) -> manifest.Manifest:
    return manifest.from_json(json.dumps({**NEW, **changes}).encode(), "here/manifest.json")


def names() -> st.SearchStrategy[str]:
    """Texts that lead elsewhere, and such as nearly do not."""
    joined = st.lists(st.sampled_from(PARTS), max_size=6).map("/".join)
    return st.one_of(
        joined,
        st.tuples(st.sampled_from([STAGED, "_state/staged/", "_state/array/", ENTRY["name"]]), joined).map("".join),
        st.tuples(joined, st.sampled_from([STAGED, ENTRY["name"]])).map("/".join),
        st.text(max_size=12).map(lambda text: f"_state/staged/{text}"),
        st.text(max_size=12),
    )


@given(names())
@settings(max_examples=200)
def test_a_staged_name_is_below_the_staging_folders_or_refused(name: str) -> None:
    pending = [{"entry": ENTRY, "staged": name}]
    if not is_staged(name):
        with pytest.raises(OutputError) as caught:
            read(pending=pending)
        assert "here/manifest.json" in caught.value.found
        assert repr(name)[:20] in caught.value.found
        assert "--overwrite" in caught.value.remedy
        return
    found = read(pending=pending)
    for directory in ("/out/of", "out", "gs://bucket/out"):
        path = storage.join(directory, f"{found.pending[0].staged}.tfrecord")
        folder, _, last = path.rpartition("/")
        assert folder in (f"{directory}/_state/staged", f"{directory}/_state/array")
        assert last == os.path.basename(os.path.normpath(path))  # noqa: PTH119


@given(names())
@settings(max_examples=150)
@example("../embeddings-00000-of-00001.tfrecord")
@example("embeddings-00000-of-00001.tfrecord\n")
def test_a_shards_name_is_one_of_ours_or_refused(name: str) -> None:
    entry = {**ENTRY, "name": name}
    for changes in ({"shards": [entry]}, {"pending": [{"entry": entry, "staged": STAGED}]}):
        if is_shard(name):
            read(**changes)
            assert "/" not in name
            continue
        with pytest.raises(OutputError) as caught:
            read(**changes)
        assert "here/manifest.json" in caught.value.found
        assert repr(name)[:20] in caught.value.found


@given(st.one_of(st.none(), st.booleans(), st.integers(max_value=-1), st.floats(), st.text(), st.lists(st.integers())))
def test_an_index_is_a_number_from_0(index: Any) -> None:
    with pytest.raises(OutputError, match=r"here/manifest\.json gives embeddings-00000-of-00001\.tfrecord the index"):
        read(shards=[{**ENTRY, "index": index}])


@given(st.one_of(st.none(), st.integers(), st.lists(st.text()), st.dictionaries(st.text(), st.text())))
def test_what_is_no_text_is_refused_too(value: Any) -> None:
    for changes in (
        {"pending": [{"entry": ENTRY, "staged": value}]},
        {"shards": [{**ENTRY, "name": value}]},
        {"pending": value or 1},
        {"shards": value if value != [] else 1},
    ):
        if changes.get("shards") != {}:
            with pytest.raises(OutputError, match="here/manifest"):
                read(**changes)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    with pytest.raises(OutputError) as caught:
        read(pending=[{"entry": ENTRY, "staged": name}])
    assert repr(name) in caught.value.found


def test_what_commits_write_is_read(tmp_path: Path) -> None:
    job = outputs.job(tmp_path, 3)
    opened = resume.start(str(tmp_path), job)
    for result in outputs.stage(job, opened.manifest, [outputs.clip(number) for number in range(9)]):
        assert is_staged(result.staged)


def test_nothing_is_moved_or_removed_before(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim.tfrecord"
    job = outputs.job(out)
    outputs.write(job, [outputs.clip(number) for number in range(9)])
    victim.write_text("precious")
    victim.with_suffix(".jsonl").write_text("precious")
    before = json.loads((out / "manifest.json").read_text())
    pending = [{"entry": before["shards"][0], "staged": "../victim"}]
    (out / "manifest.json").write_text(json.dumps({**before, "complete": False, "pending": pending}))
    files = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(OutputError) as caught:
        resume.start(str(out), job)
    assert caught.value.found == f"{out}/manifest.json names a staged file '../victim', outside _state/staged"
    assert caught.value.remedy == "Restore it from a copy, or run with --overwrite to start over."
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == files
    resume.start(str(out), job, overwrite=True)
    assert victim.read_text() == victim.with_suffix(".jsonl").read_text() == "precious"
