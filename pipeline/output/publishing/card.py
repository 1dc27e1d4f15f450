"""An output's manifest -> `README.md`, a data set card as hubs show it. Pure.

Two blocks between marks are made from the manifest, one in the YAML header and one in the text. All else is the user's:
the licence first of all.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pipeline.formatting import hours
from pipeline.output.manifest import Manifest
from vggish_core.weights import standin

_HEAD = ("# made from manifest.json; pipeline.run --also parquet replaces these lines", "# end of what is made")
_BODY = ("<!-- made from manifest.json; pipeline.run --also parquet replaces these lines -->", "<!-- end -->")
_BLOCKS = tuple(re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}\n", re.DOTALL) for begin, end in (_HEAD, _BODY))
_REST = (
    "---\n",
    "# license: name yours here, as the audio's licence and the law allow\n---\n\n",
    "\nThe licence is for the publisher of this data set to state, in the header above.\n",
)
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")
"""Of the Hub, by the number of rows."""
_KINDS = {
    "quantized": "unsigned bytes `q`; the value is `q * 4 / 255 + 4 / 512 - 2`",
    "pca": "float32, after the PCA",
    "raw": "float32, the network's own",
}


def made(manifest: Manifest, name: str, before: str | None = None) -> str | None:
    """A manifest and the data set's name -> the card.

    Args:
      manifest: of the output.
      name: to show.
      before: the card as it is, whose other lines are kept; None: there is none.

    Returns:
      The card; None where the one before does not hold the marks once each: it is somebody's own.
    """
    blocks = (_marked(_HEAD, _header(manifest, name)), _marked(_BODY, _text(manifest, name)))
    if before is None:
        return _REST[0] + blocks[0] + _REST[1] + blocks[1] + _REST[2]
    card = before
    for pattern, block in zip(_BLOCKS, blocks, strict=True):
        if len(pattern.findall(card)) != 1:
            return None
        card = pattern.sub(lambda _, block=block: block, card)  # type: ignore[misc]
    return card


def is_untouched(card: str) -> bool:
    """Whether a card is as it was made: nobody has added a line."""
    rest = card
    for pattern in _BLOCKS:
        rest = pattern.sub("", rest)
    return rest == "".join(_REST)


def _marked(marks: tuple[str, str], content: str) -> str:
    return f"{marks[0]}\n{content}{marks[1]}\n"


def _header(manifest: Manifest, name: str) -> str:
    rows = manifest.totals["written"]
    size = next((size for power, size in enumerate(SIZES, 3) if rows < 10**power), SIZES[-1])
    return (
        f"pretty_name: {json.dumps(name, ensure_ascii=False)}\n"
        "tags:\n- audio\n- embeddings\n- vggish\n"
        f"size_categories:\n- {size}\n"
        "configs:\n- config_name: default\n  data_files: data/*.parquet\n"
    )


def _text(manifest: Manifest, name: str) -> str:
    totals, settings = manifest.totals, manifest.settings
    version = manifest.run.get("versions", {}).get("vggish-pipeline", "")
    means = settings["record_format"] == "youtube8m_video"
    kind = "float32, the mean of the clip's frames" if means else _KINDS[settings["embeddings"]]
    warning = ""
    if any(model["name"] == standin.NAME for model in manifest.models.values()):
        warning = "**Stand-in weights: random numbers. These embeddings mean nothing.**\n\n"
    counts = f"{totals['written']:,} written, {totals['failed']:,} failed, {totals['skipped']:,} skipped"
    rows = {
        "clips": f"{counts} of {totals['clips_in']:,}",
        "embeddings": f"{totals['examples']:,} of {hours(totals['audio_seconds'])} of audio",
        "a value": kind,
        "hop": f"{settings['hop_seconds']} s",
        **{kind: f"{_cell(model['name'])}, sha256 `{model['sha256']}`" for kind, model in manifest.models.items()},
    }
    return (
        f"# {_cell(name)}\n\n"
        f"VGGish embeddings of audio, made by vggish-pipeline {version}: a row a clip, with its `id`, `start` and\n"
        "`end` in seconds, `labels` (class indices) and `embeddings` (128 values each). The TFRecord files beside\n"
        f"them hold the same.\n\n{warning}"
        f"{_table('', rows)}\n"
        '```python\ndatasets.load_dataset("parquet", data_files="data/*.parquet")\n```\n\n'
        f"{_table('setting', {key: f'`{_cell(json.dumps(value))}`' for key, value in settings.items()})}"
    )


def _table(title: str, rows: dict[str, Any]) -> str:
    lines = [f"| {title} | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows.items())]
    return "\n".join(lines) + "\n"


def _cell(value: str) -> str:
    """Text for a cell of a table: no mark-up, on one line."""
    return re.sub(r"([|<>`\\])", r"\\\1", " ".join(value.split()))
