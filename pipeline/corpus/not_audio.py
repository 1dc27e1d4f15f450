"""Files whose names say that they are no audio: text, pictures and the like that lie beside recordings. Pure.

The name decides only what becomes of a content that no decoder knows: it is skipped, and no failure.
"""

from __future__ import annotations

from pipeline.storage import compression

_TEXT = "txt csv tsv json jsonl ndjson geojson xml xsd yaml yml toml ini cfg conf log md rst html htm css rtf tex bib"
_CODE = "py ipynb r rmd js sh bat sql"
_DOCUMENTS = "pdf doc docx xls xlsx ods odt odp ppt pptx"
_PICTURES = "jpg jpeg png gif bmp tif tiff webp heic heif svg ico psd"
_ABOUT_AUDIO = "cls cue m3u m3u8 pls srt vtt lrc lab textgrid eaf cha nfo"
_ABOUT_FILES = "md5 sha1 sha256 sha512 sfv asc sig lnk db gpx kml kmz"
EXTENSIONS = frozenset(" ".join((_TEXT, _CODE, _DOCUMENTS, _PICTURES, _ABOUT_AUDIO, _ABOUT_FILES)).split())
"""In lower case, without the dot."""
LISTS = frozenset(("csv", "tsv", "jsonl", "ndjson"))
"""Extensions of lists of clips, in lower case."""
NAMES = frozenset({".ds_store"})
"""Whole names, in lower case."""
REASONS = ("not_audio", "no_audio_stream", "empty")
"""Reasons for which such files are skipped: FFmpeg takes pictures for silent videos."""


def says_no_audio(path: str) -> bool:
    """Whether a file's name says that it is no audio; what compresses it does not count.

    >>> says_no_audio("a/CONFIG.TXT"), says_no_audio("a/b.csv.gz"), says_no_audio("a.txt/b.wav"), says_no_audio("a/b")
    (True, True, False, False)
    """
    name, extension = _parts(path)
    return name in NAMES or extension in EXTENSIONS


def says_list(path: str) -> bool:
    """Whether a file's name says that it is a list of clips.

    >>> says_list("a/clips.CSV"), says_list("clips.jsonl.gz"), says_list("csv"), says_list("clips.csv/a.wav")
    (True, True, False, False)
    """
    return _parts(path)[1] in LISTS


def _parts(path: str) -> tuple[str, str]:
    """A file's name and its extension, "" if it has none: in lower case, without what compresses it."""
    name = compression.without_suffix(path).rpartition("/")[2].lower()
    return name, name.rpartition(".")[2] if "." in name else ""
