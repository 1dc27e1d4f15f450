"""A folder with the files that the documentation's commands name, all of them synthetic. Not a test itself.

`recordings` is what `examples.make_audio` makes without its two bad files; the records of `audioset` are of the
stand-in weights, so that a model trained on them accepts audio here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from tests import command
from tests.command import STANDIN

NAMES = ("Dog", "Rain", "Siren", "Piano", "Laughter", "Thunder", "Drill", "Clapping", "Toot", "Purr")
NOT_EMBEDDED = ("too short", "notes")


def make_files(folder: Path, example_audio: Path, raw: bool = True) -> None:
    """Fills an empty folder; adds raw embeddings if `raw`."""
    (folder / "recordings").mkdir()
    (folder / "clips").mkdir()
    made = [path for path in sorted(example_audio.rglob("*.*")) if path.stem not in NOT_EMBEDDED]
    files = [Path(shutil.copy(path, folder / "recordings" / path.name)) for path in made]
    rows, manifest = [], ["uri,id,start_seconds,end_seconds,labels"]
    for number, path in enumerate(files):
        ytid = f"ytid{number:07d}"
        shutil.copy(path, folder / "clips" / f"{ytid}{path.suffix}")
        rows.append(f'{ytid}, 0.000, 10.000, "/m/{number % 10},/m/{(number + 3) % 10}"')
        manifest.append(f'recordings/{path.name},,,,"{number % 10},{(number + 3) % 10}"')
        (kind := folder / "audio" / f"kind{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kind / f"{kind.name}_{path.name}")
    shutil.copy(files[0], folder / "dog.wav")
    (folder / "data").mkdir()
    audio = [{"audio": {"bytes": path.read_bytes(), "path": path.name}} for path in files[:4]]
    clips = [{"video_id": f"row {n}", "labels": [f"/m/{n}"], **each} for n, each in enumerate(audio)]
    parquet.write_table(pa.Table.from_pylist(clips), folder / "data" / "train.parquet", row_group_size=2)
    table = "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(NAMES))
    (folder / "class_labels_indices.csv").write_text("index,mid,display_name\n" + table)
    (folder / "classes.csv").write_text("index,mid,display_name\n" + table + '10,,"My chainsaw"\n')
    for name in ("mine", "mine_eval"):
        own = [f'recordings/{path.name},"My chainsaw"' for path in files]
        (folder / f"{name}.csv").write_text("\n".join(["uri,labels", *own]) + "\n")
    header = "# a\n# b\n# YTID, start_seconds, end_seconds, positive_labels\n"
    (folder / "eval_segments.csv").write_text(header + "\n".join(rows))
    (folder / "clips.csv").write_text("\n".join(manifest) + "\n")
    records = folder / "audioset" / "bal_train"
    for output, flags in ((records, []), *([(folder / "raw", ["--embeddings", "raw"])] if raw else [])):
        flags += ["--manifest", "clips.csv", "--num_shards", "2", "--output", str(output), *STANDIN]
        done = command.run("pipeline.run", *flags, cwd=folder)
        assert done.status == 0, done.err
    shutil.copytree(records, folder / "audioset" / "eval")
    if raw:
        shutil.copytree(folder / "raw", folder / "generated")
