"""The notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "vggish_pipeline.ipynb"


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.full
@pytest.mark.usefixtures("standin_weights")
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTEBOOK_FOLDER", str(tmp_path))
    # A kernel of this interpreter, whatever kernels are registered on the machine.
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.joinpath("kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "Python 3", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    said = "".join(out.text for cell in notebook.cells for out in cell.get("outputs", ()) if "text" in out)
    print(said)
    assert "40 clips: 40 written, 0 failed, 0 skipped" in said
    assert "15 clips: 15 written, 0 failed, 0 skipped" in said
    assert json.loads((tmp_path / "model" / "metrics.json").read_text())["mAP"] > 0.6  # a fifth by chance
    with (tmp_path / "mixture.csv").open() as file:
        heard = {row["display_name"] for row in csv.DictReader(file) if int(row["rank"]) <= 3}
    assert len(heard & {"rain", "chord", "clicks"}) >= 2
    images = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(images) == 5
