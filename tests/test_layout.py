"""The names of an output's files, and which of them exist."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.output.layout import files_in


def test_a_file_that_gets_its_name_meanwhile_hides_no_other(tmp_path: Path) -> None:
    """Commands of an array replace what they hold while others look: each look sees every file, old or new."""
    wanted = {f"shard-{index:05d}.json": 1 for index in range(20)}
    for name in wanted:
        (tmp_path / name).write_text("x")
    over = threading.Event()

    def replace() -> None:
        while not over.is_set():
            draft = tmp_path / "shard-00003.json.08942a49.tmp"
            draft.write_text("y")
            draft.replace(tmp_path / "shard-00003.json")

    other = threading.Thread(target=replace)
    other.start()
    try:
        for _ in range(6000):
            found = files_in(str(tmp_path), "shard-")
            assert {name: size for name, size in found.items() if name in wanted} == wanted
    finally:
        over.set()
        other.join()
