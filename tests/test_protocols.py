"""Storage of any protocol: what fsspec opens is an input; an output has to be one that two runs cannot both lock."""

from __future__ import annotations

import ast
import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem

from pipeline import storage
from pipeline.output.holder import RUN
from pipeline.output.lock import Lock, OutputBusy
from pipeline.storage import MissingError, StorageError, errors, remote
from tests import command

SERVED = bytes(range(256)) * 20_000


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; with `ranges`, parts of files, too."""

    ranges = True

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        path = Path(self.translate_path(self.path))
        if not (self.ranges and wanted and path.is_file()):
            super().do_GET()
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        content = path.read_bytes()
        part = content[int(first) : int(last) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None: ...


class Whole(Ranges):
    ranges = False


@pytest.fixture(params=[Ranges, Whole], ids=["ranges", "whole"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server of a folder with two clips and a file of 5 MB; its address."""
    rng = np.random.default_rng(0)
    (tmp_path / "d").mkdir()
    for name in ("a.wav", "d/b c.flac"):
        soundfile.write(tmp_path / name, rng.normal(0, 0.1, 32_000), 16_000)
    (tmp_path / "large").write_bytes(SERVED)
    (tmp_path / "empty").touch()
    handler = functools.partial(request.param, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of fsspec's own `memory://`."""
    before = fsspec.get_filesystem_class("memory")  # perhaps `tests.memory_store`'s, which other tests have in hand
    fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)
    monkeypatch.setattr(remote, "_stores", {})
    yield "memory://bucket/folder"
    MemoryFileSystem.store.clear()
    fsspec.register_implementation("memory", before, clobber=True)


class TestHttp:
    def test_files_are_looked_up_and_read(self, web: str) -> None:
        uri = f"{web}/large"
        assert storage.match(uri) == [storage.info(uri)]
        assert storage.size(uri) == len(SERVED)
        assert storage.info(uri).version
        with storage.open_read(uri) as file:
            file.seek(4_000_001)
            assert file.read(10) == SERVED[4_000_001:][:10]
            file.seek(5)
            assert file.read() == SERVED[5:]
        with storage.open_read(f"{web}/empty") as file:
            assert file.read() == b""
        assert not storage.exists(f"{web}/none")
        with pytest.raises(MissingError):
            storage.open_read(f"{web}/none")

    def test_a_folder_is_listed(self, web: str) -> None:
        found = {file.uri: file.size_bytes > 0 for file in storage.match(f"{web}/**/*.*a*")}
        assert list(found) == [f"{web}/a.wav", f"{web}/d/b%20c.flac"]
        with storage.open_read(f"{web}/d/b%20c.flac") as file:
            assert soundfile.info(file).frames == 32_000

    @pytest.mark.ci
    def test_a_list_of_clips_is_embedded(self, web: str, tmp_path: Path) -> None:
        listing = tmp_path / "list.csv"
        listing.write_text(f"uri,id\n{web}/a.wav,a\n{web}/d/b c.flac,b\n{web}/none.wav,c\n")
        done = command.embed(tmp_path / "out", "--manifest", listing, "--max_failures", "1", "--allow_private_hosts")
        assert done.status == 0, done.err
        assert "3 clips: 2 written, 1 failed" in done.out

    def test_it_is_no_output(self, web: str, tmp_path: Path) -> None:
        done = command.embed(f"{web}/out", "--input", tmp_path)
        assert done.status == 2
        first, second = done.err.splitlines()[-2:]
        assert f"{web}/out cannot be written: http:// cannot create a file only if there is none" in first
        assert second.strip() == "Name a new folder, or that of a data set, here, on gs:// or s3://."


class TestMemory:
    def test_files_come_and_go(self, memory: str) -> None:
        names = ("a.wav", "d/b c.wav", "d/e/é#?.wav")
        for name in names:
            storage.write_atomic(f"{memory}/{name}", name.encode())
        assert [file.uri for file in storage.match(f"{memory}/**")] == [f"{memory}/{name}" for name in names]
        assert [file.uri for file in storage.match(f"{memory}/d/*")] == [f"{memory}/d/b c.wav"]
        for name in names:
            storage.rename(f"{memory}/{name}", f"{memory}/{name}2")
            with storage.open_read(f"{memory}/{name}2") as file:
                assert file.read() == name.encode()
            storage.delete(f"{memory}/{name}2")
        assert storage.match(memory) == []

    def test_it_can_be_locked(self, memory: str) -> None:
        with Lock(memory), pytest.raises(OutputBusy) as caught:
            Lock(memory)
        assert caught.value.role == RUN


def test_an_unknown_protocol_and_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError) as unknown:
        storage.size("nosuch://a/b")
    assert "there is no storage for nosuch://" in str(unknown.value)
    monkeypatch.setitem(sys.modules, "paramiko", None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(StorageError) as missing:
        storage.size("sftp://host/b")
    assert "paramiko" in str(missing.value)


@pytest.mark.parametrize("scheme", ["https", "hf", "abfs", "ftp"])
def test_what_cannot_be_locked_is_no_output(scheme: str) -> None:
    assert storage.why_not_an_output(f"{scheme}://a/b") == f"{scheme}:// cannot create a file only if there is none"


def test_which_errors_of_the_libraries_pass() -> None:
    import aiohttp
    import botocore.exceptions
    import requests
    from gcsfs.retry import HttpError

    class Key:
        host, port, ssl, is_ssl = "host", 80, True, True

    def of_s3(status: int) -> Exception:
        answer = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {}}
        return botocore.exceptions.ClientError(answer, "GetObject")

    passing = [
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
        aiohttp.ClientOSError(104, "reset"),
        aiohttp.ClientConnectorError(Key, OSError(111, "refused")),  # type: ignore[arg-type]
        aiohttp.ServerTimeoutError(),
        botocore.exceptions.EndpointConnectionError(endpoint_url="x"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="x"),
        botocore.exceptions.HTTPClientError(error="x"),
        botocore.exceptions.ResponseStreamingError(error="x"),
        requests.exceptions.ProxyError(),
        fsspec.FSTimeoutError(),
        of_s3(503),
        HttpError({"code": 429, "message": ""}),
    ]
    assert [error for error in passing if not errors.is_transient(error)] == []
    final = [of_s3(403), of_s3(404), HttpError({"code": 400, "message": ""}), ValueError(), FileNotFoundError()]
    assert [error for error in final if errors.is_transient(error)] == []
    wrapped = OSError(22, "as s3fs has it")
    wrapped.__cause__ = of_s3(412)
    assert errors.error_number(wrapped) == 17


KNOWN = frozenset(["_exit", "_actions", "_option_string_actions", "_add_argparse_args"])
"""`os._exit`; what `argparse` knows of its flags; the method by which Beam's documentation has options declared."""
PACKAGES = ("apache_beam", "fsspec", "gcsfs", "s3fs", "aiobotocore", "boto3", "botocore", "google", "aiohttp")


def test_nothing_private_of_the_libraries_is_touched() -> None:
    """In modules that import them, attributes with a leading underscore are the module's own."""
    sources = [path for top in ("pipeline", "vggish_core") for path in (command.REPOSITORY / top).rglob("*.py")]
    found, looked_at = [], 0
    for path in sources:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        imported += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        if not any(name.split(".")[0] in PACKAGES for name in imported):
            continue
        looked_at += 1
        own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
        for node in nodes:
            name = node.attr if isinstance(node, ast.Attribute) else ""
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
                name = next((part for part in node.module.split(".") if part.startswith("_")), "")
            private = name.startswith("_") and not name.startswith("__") and name not in own | KNOWN
            if private:
                found.append(f"{path.relative_to(command.REPOSITORY)}:{node.lineno}: {ast.unparse(node)}")
    assert found == []
    assert looked_at > 15


def test_a_local_run_imports_no_file_system(tmp_path: Path) -> None:
    code = "import sys; from pipeline import storage as s\ns.match(sys.argv[1])\nprint('fsspec' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
