from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vggish_core.weights.download import DownloadError, NoAnswerError, download

CONTENT = bytes(range(256)) * 8192  # 2 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """A loopback server whose paths misbehave by name: /cut, /restart, /busy, /missing, /wrong, /dead and /whole."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, wanted = self.path.strip("/"), self.headers.get("Range")
        seen = sum(path == name for path, _ in self.server.requests)
        self.server.requests.append((name, wanted))
        if name == "missing":
            self.send_error(404)
        elif name == "busy" and seen == 0:
            self.send_error(503)
        elif name == "dead":
            self.close_connection = True
        else:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and name != "restart" else 0
            content = CONTENT[start:] if name != "wrong" else b"x" * len(CONTENT)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            cut = name in ("cut", "restart") and seen == 0
            self.wfile.write(content[: len(content) // 2] if cut else content)
            self.close_connection = cut

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def fetch(url: str, path: Path) -> None:
    download(url, path, MD5, pause_s=0.01, timeout_s=5)


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_whole_file(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/whole", tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_cut_connection_is_taken_up_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/cut", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == [("cut", None), ("cut", f"bytes={len(CONTENT) // 2}-")]


def test_server_that_only_starts_over(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/restart", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    fetch(f"{server.url}/busy", tmp_path / "file")
    assert len(server.requests) == 2


def test_missing_file_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="/missing: the server answers 404"):
        fetch(f"{server.url}/missing", tmp_path / "file")
    assert len(server.requests) == 1
    assert nothing_left(tmp_path)


def test_wrong_bytes_leave_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"something else .* not {MD5}"):
        fetch(f"{server.url}/wrong", tmp_path / "file")
    assert nothing_left(tmp_path)


def test_what_was_there_stays_if_the_download_fails(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(DownloadError):
        fetch(f"{server.url}/wrong", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"before"


def test_no_answer_gives_up_after_all_attempts(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match="after 4 attempts"):
        fetch(f"{server.url}/dead", tmp_path / "file")
    assert len(server.requests) == 4
    assert nothing_left(tmp_path)


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match=r"no connection .*refused.* after 4 attempts"):
        fetch("http://127.0.0.1:9/file", tmp_path / "file")


def test_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(f"{server.url}/whole", tmp_path / "file" / "inside")
