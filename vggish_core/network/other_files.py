"""Weights in files of other frameworks, told by their first bytes, or by the name where there are none."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

_STARTS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes",
    b"\x80\x02": "a PyTorch file",
    b"\x80\x04": "a file of pickled objects",
}
_ENDS = {".pt": "a PyTorch file", ".pth": "a PyTorch file", ".onnx": "an ONNX file", ".tflite": "a TFLite file"}
_ENDS |= {".safetensors": "a safetensors file", ".pb": "a frozen graph"}


def kind_of(path: str | os.PathLike[str]) -> str:
    """A local file -> "a PyTorch file" or the like; "" for anything else, and for what is not there."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
        if start.startswith(b"PK\x03\x04"):
            return _kind_of_archive(path)
    except (OSError, zipfile.BadZipFile):
        return ""
    found = next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), "")
    return found or _ENDS.get(Path(path).suffix.lower(), "")


def _kind_of_archive(path: str | os.PathLike[str]) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file"
    return "a Keras file" if any(name.endswith(".weights.h5") for name in names) else ""
