"""Files, local ones and those of a store: whole or not at all, and again where errors pass."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
import soundfile

from pipeline import storage
from pipeline.storage import DamagedError, MissingError, StorageError, compression, errors, seekable

NAMES = [
    "plain.wav",
    "with space.wav",
    "-dash.wav",
    "é ü.wav",
    "a#b%20.wav",
    "a[1]?*.wav",
    "new\nline.wav",
    "d/e/x.wav",
]


@pytest.fixture(params=["local", "remote"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder."""
    if request.param == "local":
        return str(tmp_path)
    return request.getfixturevalue("store")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder of a store."""
    from tests.memory_store import MemoryStore

    MemoryStore.reset()
    monkeypatch.setattr(errors, "FIRST_PAUSE_S", 0.001)
    return "memory://bucket/some folder"


def put(root: str, *names: str, data: bytes = b"content") -> list[str]:
    uris = [storage.join(root, name) for name in names]
    for uri in uris:
        storage.mkdirs(storage.parent(uri))
        storage.write_atomic(uri, data)
    return uris


def below(root: str, pattern: str) -> list[str]:
    return [file.uri.removeprefix(f"{root}/") for file in storage.match(f"{root}/{pattern}" if pattern else root)]


def interrupt(uri: str, error: BaseException) -> None:
    """Writes half a file."""
    with storage.open_write(uri) as file:
        file.write(b"half")
        raise error


class TestEveryStorage:
    def test_files_of_any_name_come_back(self, root: str) -> None:
        for name, uri in zip(NAMES, put(root, *NAMES, data=b"\0\xff"), strict=True):
            assert storage.exists(uri)
            assert storage.size(uri) == 2
            with storage.open_read(uri) as file:
                assert file.read() == b"\0\xff"
            assert below(root, name) == [name]
        assert below(root, "") == sorted(NAMES)
        for name in NAMES:
            storage.delete(storage.join(root, name))
            storage.delete(storage.join(root, name))  # no error
        assert storage.match(root) == []

    def test_deleting_takes_a_name_as_it_stands(self, root: str) -> None:
        one, other = put(root, "a[1].wav", "a1.wav")
        storage.delete(one)
        assert storage.match(root) == [storage.info(other)]

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("", ["a.wav", "b.flac", "d/c.wav", "d/e/x.wav"]),
            ("**", ["a.wav", "b.flac", "d/c.wav", "d/e/x.wav"]),
            ("*", ["a.wav", "b.flac"]),
            ("**/*.wav", ["a.wav", "d/c.wav", "d/e/x.wav"]),
            ("**.wav", ["a.wav", "d/c.wav", "d/e/x.wav"]),
            ("*/*.wav", ["d/c.wav"]),
            ("d", ["d/c.wav", "d/e/x.wav"]),
            ("d/", ["d/c.wav", "d/e/x.wav"]),
            ("[ab].*", ["a.wav", "b.flac"]),
            ("?.wav", ["a.wav"]),
            ("a.wav", ["a.wav"]),
            (".h/*", [".h/x.wav"]),
            ("nothing", []),
            ("nothing/**", []),
            ("*.mp3", []),
        ],
    )
    def test_matching(self, root: str, pattern: str, names: list[str]) -> None:
        put(root, "a.wav", "b.flac", "d/c.wav", "d/e/x.wav", ".hidden.wav", ".h/x.wav", "d/.e/y.wav")
        assert below(root, pattern) == names

    def test_what_exists_as_it_stands_is_meant_as_it_stands(self, root: str) -> None:
        put(root, "a[1]/x.wav", "a1/x.wav", "b1/x.wav")
        assert below(root, "a[1]/*.wav") == ["a[1]/x.wav"]
        assert below(root, "a[1]") == ["a[1]/x.wav"]
        assert below(root, "b[1]/*.wav") == ["b1/x.wav"]
        assert storage.fixed_part(f"{root}/a[1]/*.wav") == f"{root}/a[1]"

    @pytest.mark.parametrize(
        ("pattern", "fixed"),
        [("", ""), ("**", ""), ("d", "/d"), ("d/*/x", "/d"), ("d/x.wav", "/d"), ("d/", "/d"), ("no/x?.wav", "/no")],
    )
    def test_the_fixed_part(self, root: str, pattern: str, fixed: str) -> None:
        put(root, "d/x.wav")
        assert storage.fixed_part(f"{root}/{pattern}") == root + fixed

    def test_a_folder_is_listed_with_what_is_hidden(self, root: str) -> None:
        put(root, "a", ".b", "d/c")
        assert [file.uri for file in storage.list_folder(root)] == [f"{root}/.b", f"{root}/a"]
        assert storage.list_folder(f"{root}/none") == []

    def test_versions_change_with_the_file(self, root: str) -> None:
        (uri,) = put(root, "a")
        first = storage.info(uri)
        assert storage.match(root) == [first]
        storage.write_atomic(uri, b"CONTENT")
        assert storage.info(uri).version != first.version

    def test_seeking(self, root: str) -> None:
        (uri,) = put(root, "a", data=bytes(range(100)))
        with storage.open_read(uri) as file:
            assert file.seek(-10, os.SEEK_END) == 90
            assert file.read(3) == bytes([90, 91, 92])
            assert file.seek(5) == 5
            file.seek(5, os.SEEK_CUR)
            assert file.tell() == 10
            assert file.read(1) == bytes([10])
            assert file.read() == bytes(range(11, 100))
            assert file.read() == b""

    def test_a_part_whose_end_is_known(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        (uri,) = put(root, "a", data=bytes(range(100)))
        for most in (1, 7, 1000):
            monkeypatch.setattr("pipeline.storage.reader.MOST_BYTES", most)
            with storage.open_read(uri, 30, 60) as file:
                assert file.read(10) == bytes(range(30, 40))
                file.seek(50)
                assert file.read(10) == bytes(range(50, 60))
        with storage.open_read(uri, 200, 300) as file:
            assert file.read(1) == b""

    def test_a_file_appears_when_it_is_whole(self, root: str) -> None:
        uri = storage.join(root, "a")
        with storage.open_write(uri) as file:
            file.write(b"new ")
            assert not storage.exists(uri)
            file.write(b"content")
        assert storage.size(uri) == 11
        with pytest.raises(KeyboardInterrupt):
            interrupt(uri, KeyboardInterrupt())
        assert storage.size(uri) == 11
        assert [file.uri for file in storage.list_folder(root)] == [uri]

    def test_an_empty_file(self, root: str) -> None:
        (uri,) = put(root, "a", data=b"")
        assert storage.size(uri) == 0
        with storage.open_read(uri) as file:
            assert file.read() == b""

    def test_renaming_replaces(self, root: str) -> None:
        put(root, "old", data=b"old")
        (uri,) = put(root, "new", data=b"new")
        storage.rename(uri, storage.join(root, "old"))
        assert below(root, "") == ["old"]
        assert storage.size(storage.join(root, "old")) == 3

    def test_what_is_missing(self, root: str) -> None:
        uri = storage.join(root, "none")
        assert not storage.exists(uri)
        for call in (storage.info, storage.open_read, lambda uri: storage.rename(uri, f"{uri}2")):
            with pytest.raises(FileNotFoundError) as error:
                call(uri)
            assert isinstance(error.value, MissingError)
            assert error.value.errno == errno.ENOENT
            assert uri in str(error.value)
            copy = pickle.loads(pickle.dumps(error.value))
            assert (str(copy), copy.errno) == (str(error.value), error.value.errno)

    def test_audio_is_decoded_from_it(self, root: str, made_formats: Path) -> None:
        source = made_formats / "vorbis.ogg"
        (uri,) = put(root, "x.ogg", data=source.read_bytes())
        with storage.open_read(uri) as file:
            assert (soundfile.read(file)[0] == soundfile.read(source)[0]).all()


class TestLocal:
    def test_beam_is_not_imported(self, tmp_path: Path) -> None:
        put(str(tmp_path), "a.wav.gz", data=gzip.compress(b"x"))
        code = (
            "import sys; from pipeline import storage as s\n"
            "s.write_atomic(sys.argv[1] + '/b', b'x'); s.open_unwrapped(s.match(sys.argv[1])[0].uri).read()\n"
            "print(sorted({name.split('.')[0] for name in sys.modules} & {'apache_beam', 'numpy', 'tensorflow'}))"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"

    def test_file_uris(self, tmp_path: Path) -> None:
        (path,) = put(str(tmp_path), "a b.wav")
        assert storage.match(f"file://{tmp_path}/a%20b.wav") == storage.match(path)
        assert storage.absolute(f"file://localhost{tmp_path}/x") == f"{tmp_path}/x"

    def test_links(self, tmp_path: Path) -> None:
        put(str(tmp_path), "real/x.wav")
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "folder").symlink_to(tmp_path / "real")
        (tmp_path / "real" / "circle").symlink_to(tmp_path / "real")
        (tmp_path / "d" / "file.wav").symlink_to(tmp_path / "real" / "x.wav")
        (tmp_path / "d" / "broken.wav").symlink_to(tmp_path / "none")
        (tmp_path / "d" / "itself.wav").symlink_to(tmp_path / "d" / "itself.wav")
        found = {file.uri.removeprefix(f"{tmp_path}/"): file.size_bytes for file in storage.match(f"{tmp_path}/d")}
        assert found == {"d/folder/x.wav": 7, "d/file.wav": 7, "d/broken.wav": 0, "d/itself.wav": 0}
        assert storage.match(f"{tmp_path}/d/broken.wav")[0].size_bytes == 0

    def test_pipes_are_no_files(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.wav")
        assert storage.match(str(tmp_path)) == []

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        raw = os.fsencode(tmp_path) + b"/\xff.wav"
        with open(raw, "wb") as file:  # noqa: PTH123  bytes
            file.write(b"content")
        (found,) = storage.match(str(tmp_path))
        with storage.open_read(found.uri) as file:
            assert file.read() == b"content"

    def test_a_path_through_a_file(self, tmp_path: Path) -> None:
        (path,) = put(str(tmp_path), "a")
        assert storage.match(f"{path}/x.wav") == []
        assert not storage.exists(f"{path}/x.wav")
        with pytest.raises(StorageError, match="a part of it is a file"):
            storage.write_atomic(f"{path}/x", b"")

    def test_a_full_disk_leaves_what_was_there(self, tmp_path: Path) -> None:
        (path,) = put(str(tmp_path), "a")
        with pytest.raises(StorageError) as error:
            interrupt(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        assert error.value.errno == errno.ENOSPC
        assert "No space left" in str(error.value)
        assert Path(path).read_bytes() == b"content"
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_link_stays(self, tmp_path: Path) -> None:
        (path,) = put(str(tmp_path), "a")
        link = tmp_path / "link"
        link.symlink_to(path)
        storage.write_atomic(str(link), b"new")
        assert link.is_symlink()
        assert Path(path).read_bytes() == b"new"
        assert len(list(tmp_path.iterdir())) == 2

    @pytest.mark.parametrize("linked", [False, True])
    def test_a_pipe_is_written_to(self, tmp_path: Path, linked: bool) -> None:
        """Through a link, as /dev/stdout is, too; both stay what they are."""
        pipe, link = tmp_path / "pipe", tmp_path / "link"
        os.mkfifo(pipe)
        link.symlink_to(pipe)
        with subprocess.Popen(["timeout", "60", "cat", pipe], stdout=subprocess.PIPE) as reader:
            storage.write_atomic(str(link if linked else pipe), b"new")
            assert reader.communicate()[0] == b"new"
        assert pipe.is_fifo()
        assert link.is_symlink()
        assert len(list(tmp_path.iterdir())) == 2

    def test_an_open_file_is_refused_by_its_number(self, tmp_path: Path) -> None:
        """The name would come to be that of another file than the open one."""
        (path,) = put(str(tmp_path), "a")
        link = tmp_path / "link"
        with Path(path).open("r+b") as file:
            link.symlink_to(f"/proc/self/fd/{file.fileno()}")
            for name in (f"/dev/fd/{file.fileno()}", str(link)):
                with pytest.raises(StorageError, match=f"{name}: stands for a file that is open already"):
                    storage.write_atomic(name, b"new")
        assert Path(path).read_bytes() == b"content"
        assert link.is_symlink()

    def test_errors_of_the_block_are_its_own(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError) as error, storage.open_write(f"{tmp_path}/a"):
            (tmp_path / "none").read_bytes()
        assert error.value.filename == str(tmp_path / "none")

    def test_a_stale_handle_is_tried_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(errors, "FIRST_PAUSE_S", 0.001)
        left = [OSError(errno.ESTALE, os.strerror(errno.ESTALE))] * 2

        def call() -> str:
            if left:
                raise left.pop()
            return "done"

        assert errors.retried("x", "reading", call) == "done"


class TestRemote:
    def test_errors_that_pass_are_tried_again(self, store: str) -> None:
        from tests.memory_store import MemoryStore

        MemoryStore.failing = cycle([200, 200, 503])
        names = [f"{index}.wav" for index in range(30)]
        put(store, *names, data=bytes(range(256)) * 4096)
        assert below(store, "*.wav") == sorted(names)
        for name in names:
            uri = storage.join(store, name)
            with storage.open_read(uri) as file:
                assert file.read(1000) == (bytes(range(256)) * 4)[:1000]
                file.seek(500_000)
                assert len(file.read()) == 1_048_576 - 500_000
            storage.rename(uri, f"{uri}.2")
            assert storage.exists(f"{uri}.2")
            storage.delete(f"{uri}.2")
        assert storage.match(store) == []

    def test_what_does_not_pass_is_told_with_its_reason(self, store: str) -> None:
        from tests.memory_store import MemoryStore

        MemoryStore.failing = cycle([503])
        with pytest.raises(StorageError, match=rf"looking it up \({errors.TRIES} times\) failed: status 503"):
            storage.exists(f"{store}/a")
        assert len(MemoryStore.calls) == errors.TRIES

    @pytest.mark.parametrize(("status", "number"), [(403, errno.EACCES), (401, errno.EACCES), (400, errno.EIO)])
    def test_what_will_not_pass_is_not_tried_again(self, store: str, status: int, number: int) -> None:
        from tests.memory_store import MemoryStore

        MemoryStore.failing = cycle([status])
        with pytest.raises(StorageError) as error:
            storage.open_read(f"{store}/a")
        assert error.value.errno == number
        assert f"status {status}" in str(error.value)
        assert MemoryStore.calls == ["info"]

    def test_a_failed_upload_is_sent_again_whole(self, store: str) -> None:
        from tests.memory_store import MemoryStore

        MemoryStore.failing = iter([503, 503])
        (uri,) = put(store, "a", data=b"x" * 3_000_000)
        assert storage.size(uri) == 3_000_000
        assert MemoryStore.calls.count("pipe") == 3

    def test_placeholders_of_folders_are_no_files(self, store: str) -> None:
        from tests.memory_store import MemoryStore

        MemoryStore.objects[f"{store}/d/"] = (b"", 1.0)
        put(store, "d/x.wav")
        assert below(store, "") == ["d/x.wav"]

    def test_objects_are_not_unpacked_unasked(self, store: str) -> None:
        data = gzip.compress(b"content")
        (uri,) = put(store, "a.wav.gz", data=data)
        with storage.open_read(uri) as file:
            assert file.read() == data
        with storage.open_unwrapped(uri) as file:
            assert file.read() == b"content"

    def test_a_scheme_that_nobody_knows(self) -> None:
        with pytest.raises(StorageError, match="nosuch://bucket/a"):
            storage.open_read("nosuch://bucket/a")

    def test_moving_between_storages_is_refused(self, store: str, tmp_path: Path) -> None:
        (uri,) = put(store, "a")
        with pytest.raises(StorageError, match="another storage"):
            storage.rename(uri, f"{tmp_path}/a")


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)


def zstandard(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    ".deflate": deflated,
    ".zst": zstandard,
}


class TestCompressed:
    @pytest.mark.parametrize("suffix", PACKERS)
    def test_contents_come_back_and_can_be_sought_in(
        self, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = os.urandom(1000) * 2000
        (path,) = put(str(tmp_path), f"a.wav{suffix.upper()}", data=PACKERS[suffix](data))
        assert storage.is_wrapped(path)
        for in_memory, on_disk in ((1 << 30, None), (1 << 20, None), (1 << 20, 1 << 30), (1 << 20, 3 << 19), (0, 0)):
            monkeypatch.setattr(seekable, "IN_MEMORY_BYTES", in_memory)
            with compression.unpacked(storage.open_read(path), path, disk_bytes=on_disk) as file:
                assert isinstance(file, io.BytesIO) == (in_memory == 1 << 30)
                raw = getattr(file, "raw", None)
                assert isinstance(raw, seekable.ReplayedFile) == (on_disk is not None and on_disk < len(data))
                assert file.read() == data
                for place in (1_234_567, 3, len(data) - 4, 1_999_000, 2_000_000, len(data) + 5):
                    file.seek(place)
                    assert file.read(10) == data[place : place + 10]
                assert file.seek(-10, os.SEEK_END) == len(data) - 10
                assert file.read() == data[-10:]

    def test_a_full_disk_costs_time_and_no_content(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(seekable, "IN_MEMORY_BYTES", 1 << 20)
        data = os.urandom(1 << 20) + b"end"
        (path,) = put(str(tmp_path), "a.gz", data=PACKERS[".gz"](data))

        def no_file(buffering: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(tempfile, "TemporaryFile", no_file)
        with storage.open_unwrapped(path) as file:
            assert file.read() == data
        full = Path("/dev/full").open("r+b", buffering=0)  # noqa: SIM115
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: full)
        with storage.open_unwrapped(path) as file:
            assert file.read() == data
        assert full.closed

    def test_blocks_are_checked_while_they_are_unpacked(self, tmp_path: Path) -> None:
        sizes: list[int] = []

        def check(size: int, start: bytes) -> None:
            sizes.append(size)
            assert bytes(start) == data[: min(size, seekable.START_BYTES)]
            if size > 2_000_000:
                raise RuntimeError("enough")

        data = os.urandom(1 << 20) * 50
        (path,) = put(str(tmp_path), "a.gz", data=PACKERS[".gz"](data))
        with pytest.raises(RuntimeError, match="enough"):
            compression.unpacked(storage.open_read(path), path, check)
        assert 2_000_000 < sizes[-1] < 4_000_000
        assert sizes == sorted(set(sizes))

    @pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
    def test_one_after_the_other(self, tmp_path: Path, suffix: str) -> None:
        (path,) = put(str(tmp_path), f"a{suffix}", data=PACKERS[suffix](b"one ") + PACKERS[suffix](b"two"))
        with storage.open_unwrapped(path) as file:
            assert file.read() == b"one two"

    @pytest.mark.parametrize("suffix", PACKERS)
    @pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
    def test_what_was_cut_off_says_so(self, tmp_path: Path, suffix: str, left: float) -> None:
        data = PACKERS[suffix](os.urandom(100_000))
        (path,) = put(str(tmp_path), f"a{suffix}", data=data[: int(len(data) * left)])
        if left == 0 and suffix == ".gz":
            with storage.open_unwrapped(path) as file:  # nothing, packed, may be nothing at all
                assert file.read() == b""
            return
        with pytest.raises(DamagedError) as error:
            storage.open_unwrapped(path)
        assert error.value.truncated

    @pytest.mark.parametrize("suffix", PACKERS)
    def test_what_is_no_compressed_data_says_so(self, tmp_path: Path, suffix: str) -> None:
        (path,) = put(str(tmp_path), f"a{suffix}", data=b"RIFF or whatever it is" * 100)
        with pytest.raises(DamagedError) as error:
            storage.open_unwrapped(path)
        assert not error.value.truncated
        assert error.value.errno is None
        assert path in str(error.value)

    def test_other_files_are_opened_as_they_are(self, tmp_path: Path) -> None:
        (path,) = put(str(tmp_path), "a.wav")
        assert not storage.is_wrapped(path)
        with storage.open_unwrapped(path) as file:
            assert file.read() == b"content"


@pytest.mark.parametrize(("uri", "whose"), [("gs://bucket/a.wav", "Google"), ("s3://bucket/a.wav", "S3")])
def test_missing_credentials_are_told_at_once(uri: str, whose: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline import storage\n"
        "try: storage.size(sys.argv[1])\n"
        "except storage.StorageError as error: print(error)"
    )
    known = ("GOOGLE", "AWS", "CLOUDSDK", "HOME", "STORAGE_EMULATOR")
    none = {name: value for name, value in os.environ.items() if not name.startswith(known)}
    none |= {"HOME": str(tmp_path), "NO_GCE_CHECK": "true", "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code, uri],
        cwd=Path(__file__).parents[1],
        env=none,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(f"{uri}: there are no {whose} credentials. "), done.stderr


def test_s3_credentials_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.storage import remote

    monkeypatch.setattr(remote, "_stores", {})
    monkeypatch.setenv("AWS_PROFILE", "misspelt")
    with pytest.raises(storage.CredentialsError, match=r"cannot be used: The config profile \(misspelt\) could not be"):
        storage.expect_bucket("s3://bucket/a")
