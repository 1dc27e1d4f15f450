"""TFRecord files: a sequence of frames, streamed. No TensorFlow, no Beam.

A frame is `uint64 length, uint32 masked CRC32C of the length, length bytes, uint32 masked CRC32C of the bytes`, all
little-endian (TensorFlow, `tensorflow/core/lib/io/record_writer.h`). A file may be several files end to end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import google_crc32c

from pipeline.errors import UserError

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<QI")

MASK_DELTA = 0xA282EAD8
PACKED = {b"\x1f\x8b": "gzip", b"x\x9c": "zlib", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
"""First bytes of compressed files; gzip and zlib are TensorFlow's own options."""
MAX_RECORD_BYTES = 1 << 30
"""No record is this long: a longer length is damage, not a reason to allocate it."""

_NO_RECORDS = "Name record files, or the folder of a data set; if it is one, copy it again"


class RecordError(UserError):
    """A record or its frame is malformed; the message names what."""


class OtherRecordError(RecordError):
    """A record, or a file, is sound and of another kind."""


def masked_crc32c(data: bytes) -> int:
    """Bytes -> their CRC32C, rotated by 15 bits and shifted by a constant, as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def frame(record: bytes) -> bytes:
    """A record -> its frame."""
    length = _LENGTH.pack(len(record))
    return b"".join((length, _CRC.pack(masked_crc32c(length)), record, _CRC.pack(masked_crc32c(record))))


def write_tfrecord(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Writes each record's frame; returns how many. Holds one record at a time."""
    count = 0
    for record in records:
        file.write(frame(record))
        count += 1
    return count


def read_tfrecord(file: BinaryIO, name: str = "") -> Iterator[bytes]:
    """A file of frames -> its records, one at a time.

    Args:
      file: binary, buffered, at the start of a frame.
      name: for the message.

    Raises:
      RecordError: a checksum does not fit, or the file ends inside a frame; names the record's index and offset.
    """
    index = offset = 0
    while header := file.read(_HEADER.size):
        where = f"{name + ': ' if name else ''}record {index} at byte {offset}"
        if len(header) < _HEADER.size:
            raise RecordError(f"{where}: the file ends inside the frame's header", "" if index else _NO_RECORDS)
        length, length_crc = _HEADER.unpack(header)
        if masked_crc32c(header[: _LENGTH.size]) != length_crc:
            if packed := next((kind for magic, kind in PACKED.items() if not index and header.startswith(magic)), ""):
                found = f"{name + ': ' if name else ''}the file is compressed ({packed})"
                raise OtherRecordError(found, "Unpack it first")
            found = f"{where}: the checksum of the length does not fit; not a TFRecord file, or damaged"
            raise RecordError(found, "" if index else _NO_RECORDS)
        if length > MAX_RECORD_BYTES:
            raise RecordError(f"{where}: a length of {length} bytes is not plausible")
        body = file.read(length + _CRC.size)
        if len(body) < length + _CRC.size:
            raise RecordError(f"{where}: the file ends {length + _CRC.size - len(body)} bytes before the record does")
        record = body[:length]
        if masked_crc32c(record) != _CRC.unpack_from(body, length)[0]:
            raise RecordError(f"{where}: the checksum of the record does not fit")
        yield record
        index += 1
        offset += _HEADER.size + length + _CRC.size
