"""Audio of http:// servers: what a crawl meets, and what a stranger's list must not reach."""

from __future__ import annotations

import email.utils
import http.server
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from pipeline import storage
from pipeline.settings import Crawl
from pipeline.storage import StorageError, errors, hosts, options, remote, slots, web
from tests.command import failures, manifest, shard_bytes
from tests.in_process import Embed

CLIPS = 10
SECRET = b"of nobody's business"


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, with trouble.

    Attributes:
      trouble: of a request -> a status and headers to answer with in place of the file; None: the file.
      asked: methods and paths.
      agents: who asked.
      most: requests at a time.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.trouble: Callable[[str, str, int], tuple[int, dict[str, str]] | None] = lambda method, path, count: None
        self.asked: list[tuple[str, str]] = []
        self.agents: Counter[str] = Counter()
        self.most = self.now = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked.append((self.command, self.path))
            server.agents[self.headers["User-Agent"]] += 1
            server.now += 1
            server.most = max(server.most, server.now)
            count = len(server.asked)
        self.counted = True
        try:
            self.answer(server.trouble(self.command, self.path, count))
        finally:
            self.over()

    do_HEAD = do_GET  # noqa: N815

    def over(self) -> None:
        """Counts the request no longer: before its last bytes, since whoever has these may ask again at once."""
        with self.server.lock:
            self.server.now -= self.counted
            self.counted = False

    def answer(self, trouble: tuple[int, dict[str, str]] | None) -> None:
        path = self.server.folder / unquote(self.path.strip("/"))
        if trouble is None and not path.is_file():
            trouble = 404, {}
        if trouble is not None and trouble[0] != 200:
            self.send_response(trouble[0])
            for name, value in {"Content-Length": "0", **trouble[1]}.items():
                self.send_header(name, value)
            self.over()
            self.end_headers()
            return
        time.sleep(0.01)
        data = path.read_bytes()
        wanted = self.headers.get("Range")
        start, end = 0, len(data)
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(data))
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}"')
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        if self.command == "HEAD":
            self.over()
        self.end_headers()
        if self.command == "GET":
            cut = 1 if trouble and "cut" in trouble[1] else 0
            self.over()
            self.wfile.write(data[start : end - cut])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "audio").mkdir()
    with Server(tmp_path / "audio") as result:
        thread = threading.Thread(target=result.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield result
        result.shutdown()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that is not slept."""
    slept: list[float] = []
    monkeypatch.setattr(errors, "wait", slept.append)
    return slept


def clips(server: Server, count: int = CLIPS) -> Path:
    """Audio of a second each, and its list."""
    for n in range(count):
        soundfile.write(server.folder / f"c {n}.wav", np.random.default_rng(n).normal(0, 0.1, 16_000), 16_000)
    listing = server.folder.parent / "list.csv"
    listing.write_text("uri,id\n" + "".join(f"{server.address}/c {n}.wav,c {n}\n" for n in range(count)))
    return listing


def store(**other: object) -> web.WebStore:
    return web.WebStore(**{"private": True, **other})  # type: ignore[arg-type]


def opened(uri: str) -> BinaryIO:
    files = store()
    return remote.reading(uri, lambda start, end: files.read(uri, start, end))


def test_a_crawl_of_a_troubled_server_gives_the_bytes_of_the_folder(
    server: Server, embed_here: Embed, tmp_path: Path
) -> None:
    listing = clips(server)
    (tmp_path / "shards").mkdir()
    flags = ("--num_shards", "1", "--short_clips", "pad")
    done = embed_here(tmp_path / "folder", "--input", server.folder, *flags)
    assert done.status == 0, done.err

    def trouble(method: str, path: str, count: int) -> tuple[int, dict[str, str]] | None:
        if count % 5 == 0:
            return 503, {}
        if count % 9 == 0:
            return 429, {"Retry-After": "1"}
        return (200, {"cut": ""}) if count % 8 == 0 else None

    server.trouble = trouble
    web_flags = ("--manifest", listing, "--allow_private_hosts", "--connections_per_host", "2", "--decoders", "4")
    done = embed_here(tmp_path / "web", *web_flags, *flags)
    assert done.status == 0, done.err
    assert shard_bytes(tmp_path / "web") == shard_bytes(tmp_path / "folder")
    assert manifest(tmp_path / "web")["totals"]["written"] == CLIPS
    assert server.most <= 2
    assert set(server.agents) == {web.user_agent()}
    assert web.user_agent().startswith("vggish-pipeline/")

    server.trouble = lambda method, path, count: None
    server.asked.clear()
    soundfile.write(server.folder / "c 3.wav", np.random.default_rng(99).normal(0, 0.1, 16_000), 16_000)
    assert embed_here(tmp_path / "web", *web_flags, *flags).status == 0
    assert {path for method, path in server.asked if method == "GET"} == {"/c%203.wav"}  # another ETag
    server.asked.clear()
    server.trouble = lambda method, path, count: (500, {}) if method == "HEAD" else None
    assert embed_here(tmp_path / "web", *web_flags, *flags).status == 0
    assert {method for method, _ in server.asked} == {"HEAD"}  # what is there counts, though nobody says of when


def test_private_addresses_are_not_asked_unless_allowed(server: Server, embed_here: Embed, tmp_path: Path) -> None:
    listing = clips(server, 2)
    done = embed_here(tmp_path / "out", "--manifest", listing, "--max_failures", "100%")
    assert done.status == 0, done.err
    assert server.asked == []
    found = failures(tmp_path / "out").values()
    assert [(each["reason"], each["message"]) for each in found] == [
        ("unreadable", "127.0.0.1 is not public: refused")
    ] * 2


def test_what_a_server_does_not_serve_is_missing_with_its_status(
    server: Server, embed_here: Embed, tmp_path: Path
) -> None:
    listing = clips(server, 5)
    statuses = {"/c%200.wav": 403, "/c%201.wav": 404, "/c%202.wav": 410}
    server.trouble = lambda method, path, count: (statuses[path], {}) if path in statuses else None
    (server.folder / "c 3.wav").write_bytes((server.folder / "c 4.wav").read_bytes() + bytes(2 << 20))
    flags = ("--allow_private_hosts", "--max_download_mb", "1", "--max_failures", "100%", "--short_clips", "pad")
    done = embed_here(tmp_path / "out", "--manifest", listing, *flags)
    assert done.status == 0, done.err
    found = {name: (each["reason"], each["message"]) for name, each in failures(tmp_path / "out").items()}
    assert found == {
        "c 0": ("missing", "HTTP status 403 (Forbidden)"),
        "c 1": ("missing", "HTTP status 404 (Not Found)"),
        "c 2": ("missing", "HTTP status 410 (Gone)"),
        "c 3": ("too_large", "the server has 2.0 MB or more, the limit is 1.0 MB"),
    }
    assert manifest(tmp_path / "out")["totals"]["written"] == 1


def test_a_redirection_to_a_private_address_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (server.folder / "a").write_bytes(b"content")
    (server.folder / "secret").write_bytes(SECRET)
    port = server.server_address[1]
    # 127.0.0.1 plays the public server; all other addresses are what they are.
    monkeypatch.setattr(hosts, "is_public", lambda text, real=hosts.is_public: text == "127.0.0.1" or real(text))
    goals = {"/inside": f"http://127.0.0.2:{port}/secret", "/moved": "/a", "/file": "file:///etc/passwd", "/on": "/on"}
    server.trouble = lambda method, path, count: (302, {"Location": goals[path]}) if path in goals else None
    public = store(private=False)
    assert public.read(f"{server.address}/moved", 0, 10) == (b"content", 7)
    asked = len(server.asked)
    with pytest.raises(StorageError, match=r"127\.0\.0\.2 is not public: refused"):
        public.read(f"{server.address}/inside", 0, 10)
    assert len(server.asked) == asked + 1
    with pytest.raises(StorageError, match="leads to file:///etc/passwd"):
        public.read(f"{server.address}/file", 0, 10)
    with pytest.raises(StorageError, match="more than 10 redirections"):
        public.info(f"{server.address}/on")


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::1]", "0.0.0.0", "[::ffff:10.1.2.3]", "10.9.8.7"]
)
def test_however_a_private_address_is_written(host: str, server: Server) -> None:
    with pytest.raises(StorageError, match="refused"):
        store(private=False).info(f"http://{host}:{server.server_address[1]}/a")
    assert server.asked == []


def test_which_addresses_are_public() -> None:
    public = ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
    private = [
        *("127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "0.0.0.0", "::", "::1", "fe80::1%lo", "fd00::1", "fec0::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::"),
    ]
    assert [each for each in public if not hosts.is_public(each)] == []
    assert [each for each in private if hosts.is_public(each)] == []


def test_other_protocols_do_not_lead_there_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_stores", {})
    options.adopt({"http": {"private": False}})
    try:
        for uri in ("ftp://127.0.0.1/a.wav", "zip://a.wav::http://127.0.0.1/a.zip"):
            with pytest.raises(StorageError, match="--allow_private_hosts") as caught:
                storage.open_read(uri)
            assert "refused" in str(caught.value) or "is not read" in str(caught.value)
    finally:
        options.adopt(None)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7),
        ("1000000", errors.LONGEST_ASKED_S, errors.LONGEST_ASKED_S),
        ("soon", 0, 1),
        ("a date", 20, 30),
    ],
)
def test_a_server_is_asked_again_when_it_wants_to_be(
    server: Server, pauses: list[float], said: str, least: float, most: float
) -> None:
    (server.folder / "a").write_bytes(b"content")
    said = email.utils.formatdate(time.time() + 30, usegmt=True) if said == "a date" else said
    server.trouble = lambda method, path, count: (429, {"Retry-After": said}) if count < 3 else None
    with opened(f"{server.address}/a") as file:
        assert file.read() == b"content"
    assert len(pauses) == 2
    assert all(least <= pause <= most for pause in pauses), pauses


def test_a_server_that_stays_busy_is_named_with_its_status(server: Server, pauses: list[float]) -> None:
    server.trouble = lambda method, path, count: (503, {})
    with pytest.raises(StorageError, match=r"opening \(12 times\) failed: HTTP status 503: Service Unavailable"):
        opened(f"{server.address}/a")
    assert len(pauses) == errors.TRIES - 1


def test_a_file_that_changes_while_it_is_read_is_not_put_together(server: Server) -> None:
    (server.folder / "a").write_bytes(b"content")
    reader = store()
    assert reader.read(f"{server.address}/a", 0, 3) == (b"con", 7)
    assert reader.read(f"{server.address}/a", 3, 9) == (b"tent", 7)
    (server.folder / "a").write_bytes(b"CONTENT")
    with pytest.raises(StorageError, match="changed while it was read"):
        reader.read(f"{server.address}/a", 3, 9)


def test_one_silent_server_does_not_keep_a_list_waiting(server: Server, pauses: list[float]) -> None:
    (server.folder / "a").write_bytes(b"content")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        silent = f"http://127.0.0.1:{closed.server_address[1]}"
    uris = [f"{server.address}/a", f"{server.address}/none", *(f"{silent}/{n}" for n in range(50))]
    found = web.look_up(uris, Crawl(private=True, connections=1))
    assert {uri: info.size_bytes for uri, info in found.items()} == {uris[0]: 7}
    assert web.look_up(uris[:1], Crawl()) == {}


def test_slots_are_held_one_a_connection() -> None:
    free = threading.Event()
    taken: list[int] = []

    def hold() -> None:
        with slots.taken("a:80", 2):
            taken.append(1)
            free.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    with slots.taken("b:80", 1):  # another host
        time.sleep(0.2)
    assert len(taken) == 2
    free.set()
    for thread in threads:
        thread.join(10)
    assert len(taken) == 3
