"""What archives hold: the same as `tarfile` and `zipfile` find; links, odd names, and members read in turn."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.storage import containers
from pipeline.storage.containers.members import Listing
from pipeline.storage.containers.stream import _Unpacked

parts = st.text(st.sampled_from("ab.é日 \\:%0-"), min_size=1, max_size=30).filter(lambda part: part.strip("."))
names = st.lists(parts, min_size=1, max_size=8).map("/".join)
files = st.dictionaries(names, st.binary(max_size=2000), max_size=6).filter(
    lambda found: not any(f"{name}/" in other for name in found for other in found)
)


def listed(path: Path) -> Listing:
    return containers.list_members(storage.info(str(path)))


def contents(path: Path) -> dict[str, bytes]:
    """What the readable members of an archive hold, by name."""
    found = {}
    for member in listed(path).members:
        with containers.open_member(containers.uri_of(str(path), member.name), member.place) as file:
            found[member.name] = file.read()
            file.seek(len(found[member.name]) // 2)
            assert file.read() == found[member.name][len(found[member.name]) // 2 :]
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    found=files,
    layout=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    suffix=st.sampled_from(["", ".gz", ".bz2"]),
    dotted=st.booleans(),
)
def test_a_tar_holds_what_tarfile_put_there(
    tmp_path: Path, found: dict[str, bytes], layout: int, suffix: str, dotted: bool
) -> None:
    path = tmp_path / f"a.tar{suffix}"
    with tarfile.open(path, f"w:{suffix[1:]}", format=layout) as tar:  # type: ignore[call-overload]
        for name, data in found.items():
            info = tarfile.TarInfo(f"./{name}" if dotted else name)
            info.size, info.mtime = len(data), 1.5 if layout == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(data))
    assert contents(path) == found
    assert listed(path).reason == ""
    assert listed(path).notes == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=files, method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
def test_a_zip_holds_what_zipfile_put_there(tmp_path: Path, found: dict[str, bytes], method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in found.items():
            with archive.open(name, "w", force_zip64=len(data) % 2 == 0) as file:
                file.write(data)
    assert contents(path) == found


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_a_listing_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes change, what is listed ends, and is what was there or is said to be damaged."""
    path = tmp_path / data.draw(st.sampled_from(["a.tar", "a.zip", "a.tgz"]))
    content = {f"{number}.wav": bytes([number]) * 700 for number in range(4)}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, each in content.items():
                archive.writestr(name, each)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w", format=tarfile.PAX_FORMAT) as tar:
            for name, each in content.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(each), 0.5
                tar.addfile(info, io.BytesIO(each))
    changed = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(changed) - 1), max_size=5)):
        changed[at] = data.draw(st.integers(0, 255))
    path.write_bytes(changed[: data.draw(st.integers(0, len(changed)))])
    found = listed(path)
    for member in found.members:
        if not member.reason:
            try:
                with containers.open_member(containers.uri_of(str(path), member.name), member.place) as file:
                    file.read()
            except storage.DamagedError:
                pass
    if len(found.members) < len(content) and path.suffix == ".tgz":
        assert found.reason


def test_a_small_part_of_an_archive_is_missed_nowhere(tmp_path: Path) -> None:
    """Cut off anywhere, a tar says so, or lists all that is there."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.wav")
            info.size = 600
            tar.addfile(info, io.BytesIO(bytes([number + 1]) * 600))
    data = path.read_bytes()
    for length in range(0, 3 * 1536 + 1, 100):
        path.write_bytes(data[:length])
        found = listed(path)
        sound = [member.name for member in found.members if not member.reason]
        assert sound == [f"{number}.wav" for number in range(3) if number * 1536 + 512 + 600 <= length]
        assert found.reason or found.notes or any(member.reason for member in found.members)


def test_links_lead_to_members(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("d/a.wav")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"audio"))
        for name, kind, target in (
            ("e/hard.wav", tarfile.LNKTYPE, "./d/a.wav"),
            ("e/soft.wav", tarfile.SYMTYPE, "../d/a.wav"),
            ("e/both.wav", tarfile.SYMTYPE, "soft.wav"),
            ("e/gone.wav", tarfile.SYMTYPE, "/d/a.wav"),
            ("e/round.wav", tarfile.SYMTYPE, "round.wav"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    found = {member.name: (member.reason, member.place) for member in listed(path).members}
    place = found["d/a.wav"][1]
    for name in ("e/hard.wav", "e/soft.wav", "e/both.wav"):
        assert found[name] == ("", place)
    assert found["e/gone.wav"] == found["e/round.wav"] == ("missing", "")


def test_the_last_of_several_members_of_one_name_counts(tmp_path: Path) -> None:
    for path in (tmp_path / "a.tar", tmp_path / "a.tar.gz"):
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            for data in (b"old", b"other", b"new"):
                info = tarfile.TarInfo("b.wav" if data == b"other" else "./a.wav")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        assert contents(path) == {"b.wav": b"other", "a.wav": b"new"}
        assert listed(path).notes == ["1 of its members come again further on, and the last one counts"]


def test_a_sparse_member_is_not_read(tmp_path: Path) -> None:
    """As GNU tar writes it: a header of type S, whose list of holes goes on in a block of its own."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("a.wav")
        info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
        block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        block[482] = 1
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
        assert tar.fileobj is not None
        tar.fileobj.write(bytes(block) + bytes(512) + b"x" * 512)
        tar.offset += 1536
        after = tarfile.TarInfo("b.wav")
        after.size = 3
        tar.addfile(after, io.BytesIO(b"end"))
    members = listed(path).members
    assert [(member.name, member.reason) for member in members] == [("a.wav", "unreadable"), ("b.wav", "")]


def test_what_follows_the_end_mark_is_not_read_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for _ in range(2):
        with tarfile.open(tmp_path / "one.tar", "w") as tar:
            info = tarfile.TarInfo("a.wav")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"one"))
        with path.open("ab") as file:
            file.write((tmp_path / "one.tar").read_bytes())
    assert listed(path).notes == ["what follows its end mark at byte 1,024 is not read"]


def test_names_in_zip_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("é.wav", "d/b.wav"):
            archive.writestr(name, name)
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # without the flag that says UTF-8
        data[data.index(mark) + at + 1] &= ~0x08
    path.write_bytes(data)
    assert [member.name for member in listed(path).members] == ["é.wav", "d/b.wav"]


def test_an_encrypted_member_fails_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.wav", b"audio")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    (member,) = listed(path).members
    assert (member.reason, member.what) == ("unreadable", "it is encrypted; unpack the archive")


def test_members_in_turn_are_unpacked_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for number in range(20):
            info = tarfile.TarInfo(f"{number}.wav")
            info.size = 300_000
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    opened = []
    first = _Unpacked.__init__

    def init(self: _Unpacked, uri: str, mark: str) -> None:
        opened.append(uri)
        first(self, uri, mark)

    monkeypatch.setattr(_Unpacked, "__init__", init)
    members = listed(path).members
    opened.clear()
    for number in [*range(0, 20, 2), 5]:
        with containers.open_member(containers.uri_of(str(path), members[number].name), members[number].place) as file:
            assert file.read() == bytes([number]) * 300_000
    assert len(opened) == 2
