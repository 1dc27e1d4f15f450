"""Why a clip has no record: the closed list of reasons, with what a user can do about each."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "missing": "The file is gone, or its server does not give it. Check the path, or run with --prune to drop it.",
    "unreadable": "The file could not be opened or read. Check its permissions and the storage, then --retry_failed.",
    "empty": "The file has no bytes. Fetch it again.",
    "not_audio": "No decoder recognises the content. Check what the file is. Text, pictures and the like that "
    "patterns find are skipped.",
    "no_audio_stream": "The file is a video or container without sound.",
    "corrupt": "The file is damaged. Fetch it again, or keep what decodes: --damaged keep.",
    "truncated": "The file's end is missing. Fetch it again, or keep what is there: --damaged keep.",
    "before_sound": "The segment begins before its file's sound does. Check the times.",
    "no_samples": "The header is valid, but no samples follow it.",
    "not_finite": "The samples hold NaN, infinite or far too large values. Repair the file.",
    "unsupported_rate": "The sample rate is outside 1 to 1,600 kHz.",
    "too_short": "The clip holds less than one example (0.975 s). --short_clips pad embeds such clips.",
    "too_long": "The clip is longer than --max_duration_seconds.",
    "crashed": "The decoder's process died on this file. Report the file; no other clip was affected.",
    "timed_out": "The decoder made no progress for --decode_timeout_seconds.",
    "too_large": "Decoding needed more than --decode_memory_mb, or a server has more than --max_download_mb.",
    "past_end": "The segment ends after its file does. Check the times, or whether the file is whole.",
    "bad_row": "The row of the list cannot be used. Correct the line that the message names.",
    "bad_times": "Start and end are not a valid interval: start >= end, negative or not a number.",
    "unknown_label": "A label is not in --class_labels.",
    "duplicate_id": "Another clip has the same id and times. Rename one, or give ids in a --manifest.",
    "no_audio": "A row names audio that is not among the inputs.",
    "no_row": "An audio file is not named by any row.",
    "bad_element": "In a Beam pipeline: the element is no clip that can be embedded or written. The message shows it.",
}
