"""Real HTTP stores on loopback, gs:// and s3://, behind a proxy that logs all requests and fails as many as requested.

The stores are `gcp-storage-emulator` and moto's server; the proxy stands for what lies between them and a user. Not a
test itself.
"""

from __future__ import annotations

import http.client
import logging
import math
import random
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from tests.engines.servers import held_port

BUCKET = "corpus"


@dataclass
class Request:
    """One request as the proxy saw it: `status` is 0 where the connection was cut, `sent` counts the answer's body."""

    method: str
    path: str
    range: str
    status: int = 0
    sent: int = 0


@dataclass
class Trouble:
    """Injected faults: a share of all requests is cut off before the store sees it, cut in the middle of its answer, or
    refused as the store is busy, in turn.

    Attributes:
      share: of requests that fail.
      dice: decides.
      most: no more fail than these.
      seconds: how long requests fail, from the first failure on.
      failed: how many have.
      until: `time.monotonic()` from which on none fails; set by the first failure.
    """

    share: float = 0.0
    dice: random.Random = field(default_factory=random.Random)
    most: float = math.inf
    seconds: float = math.inf
    failed: int = 0
    until: float = math.inf

    def strikes(self) -> bool:
        """Whether the next request is to fail."""
        over = self.failed >= self.most or time.monotonic() >= self.until
        strikes = not over and self.dice.random() < self.share
        if strikes and not self.failed:
            self.until = time.monotonic() + self.seconds
        self.failed += strikes
        return strikes


class Proxy:
    """Forwards HTTP from a port of its own to a store."""

    def __init__(self, port: int) -> None:
        self.requests: list[Request] = []
        self.trouble = Trouble()
        self._lock = threading.Lock()
        self._conditional = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer in two writes waits 40 ms for the reader's word

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, self.headers.get("Range", ""))
                with proxy._lock:
                    proxy.requests.append(request)
                    fails = proxy.trouble.strikes()
                    how = proxy.trouble.failed % 3 if fails else -1
                if how == 0:
                    self._answer(request, 503, [], b"busy", 4)
                elif how == 1:
                    self._cut()
                else:
                    self._pass_on(request, body, cut=how == 2)

            def _pass_on(self, request: Request, body: bytes, cut: bool) -> None:
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                # A store looks whether a condition holds and writes in one step, which moto does in two.
                conditional = "If-None-Match" in self.headers or "If-Match" in self.headers
                try:
                    with proxy._conditional if conditional else nullcontext():
                        upstream.request(self.command, self.path, body, headers)
                        answer = upstream.getresponse()
                        content = answer.read()
                finally:
                    upstream.close()
                if cut and not content:
                    self._cut()
                    return
                end = len(content) // 2 if cut else len(content)
                self._answer(request, answer.status, answer.getheaders(), content, end)
                if cut:
                    self._cut()

            def _answer(self, request: Request, status: int, headers: Any, content: bytes, end: int) -> None:
                request.status = status
                self.send_response_only(status)
                own = {"connection", "transfer-encoding", "content-length"}
                for name, value in headers:
                    if name.lower() not in own or (name.lower() == "content-length" and self.command == "HEAD"):
                        self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                view = memoryview(content)[:end]
                try:
                    for start in range(0, len(view), 1 << 16):
                        self.wfile.write(view[start : start + (1 << 16)])
                        request.sent += len(view[start : start + (1 << 16)])
                except ConnectionError:  # the reader has seen enough
                    self.close_connection = True

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _forward  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None: ...  # readers that went away: the tests look at what arrived

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, share: float, seed: int = 0, most: float = math.inf, seconds: float = math.inf) -> None:
        """Fail a share of the requests to come, `most` of them, for some seconds from the first."""
        self.trouble = Trouble(share, random.Random(seed), most, seconds)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Store:
    """A store, a bucket in it, and how to reach it.

    Attributes:
      scheme: "gs" or "s3".
      proxy: what the command talks to.
      environment: variables of the command.
      flags: of the command.
    """

    scheme: str
    proxy: Proxy
    environment: dict[str, str]
    flags: tuple[str, ...]
    _client: Any

    def uri(self, name: str = "") -> str:
        """The URI of an object in the bucket."""
        return f"{self.scheme}://{BUCKET}/{name}"

    def put(self, name: str, content: bytes) -> None:
        """Makes an object."""
        if self.scheme == "gs":
            self._client.bucket(BUCKET).blob(name).upload_from_string(content)
        else:
            self._client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def upload(self, folder: Path, name: str) -> None:
        """A local folder's files -> objects below a name."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{name}/{path.relative_to(folder)}", path.read_bytes())

    def content(self, prefix: str) -> dict[str, bytes]:
        """Objects whose names begin with "PREFIX/", by the rest of the name."""
        if self.scheme == "gs":
            return {
                blob.name.removeprefix(f"{prefix}/"): blob.download_as_bytes()
                for blob in self._client.list_blobs(BUCKET, prefix=f"{prefix}/")
            }
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        return {
            item["Key"].removeprefix(f"{prefix}/"): self._client.get_object(Bucket=BUCKET, Key=item["Key"])[
                "Body"
            ].read()
            for page in pages
            for item in page.get("Contents", ())
        }


def _kept(path: str) -> str:
    """A bucket and an object's name -> where the emulator keeps it. Its own way takes names for paths: "//" for "/"."""
    bucket, slash, name = path.partition("/")
    return bucket + slash + quote(name, safe="")


def _conditional(handle: Any) -> Any:
    """An emulator's handler of uploads -> one that minds `ifGenerationMatch`, as Google documents it: 0 stands for no
    object; status 412 where the object is of another generation. The emulator handles one request at a time.

    An upload without content is one of no bytes.
    """

    def conditional(request: Any, response: Any, storage: Any) -> None:
        from gcp_storage_emulator.exceptions import NotFound

        wanted = request.query.get("ifGenerationMatch")
        if request.data is None:
            request._data = b""
        if wanted:
            bucket, name = request.params["bucket_name"], request.query["name"][0]
            try:
                there = storage.get_file_obj(bucket, name)["generation"]
            except NotFound:
                there = "0"
            if wanted != [there]:
                message = "At least one of the pre-conditions you specified did not hold."
                response.status = http.HTTPStatus.PRECONDITION_FAILED
                response.json({"error": {"code": 412, "message": message}})
                return
        handle(request, response, storage)

    return conditional


@contextmanager
def google() -> Iterator[Store]:
    """Google Cloud Storage's API, without credentials."""
    from gcp_storage_emulator.handlers import objects
    from gcp_storage_emulator.server import create_server
    from gcp_storage_emulator.storage import _FileStore

    made = objects._make_object_resource

    def resource(base_url: str, bucket_name: str, object_name: str, *others: Any, **more: Any) -> dict[str, Any]:
        """The emulator's metadata of an object, its name quoted in the address, as Google does."""
        found: dict[str, Any] = made(base_url, bucket_name, object_name, *others, **more)
        where = f"{base_url}/download/storage/v1/b/{bucket_name}/o/{quote(object_name, safe='')}"
        return {**found, "mediaLink": f"{where}?generation={found['generation']}&alt=media"}

    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with (
        held_port() as port,
        patch.object(_FileStore, "_norm", staticmethod(_kept)),
        patch.object(objects, "_make_object_resource", resource),
        patch.object(objects, "_media_upload", _conditional(objects._media_upload)),
    ):
        server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
        server.start()
        proxy = Proxy(port)
        environment = {
            "STORAGE_EMULATOR_HOST": proxy.url,
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "NO_GCE_CHECK": "true",
        }
        client = storage.Client(
            project="test",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": proxy.url},  # objects keep the address that they were written to
        )
        try:
            yield Store("gs", proxy, environment, ("--gcs_anonymous",), client)
        finally:
            proxy.close()
            server.stop()


@contextmanager
def amazon() -> Iterator[Store]:
    """S3's API; the endpoint and the keys are flags of Beam's, which decoder processes get from the command alone."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()  # of what earlier tests in this process left
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **keys)
    client.create_bucket(Bucket=BUCKET)
    proxy = Proxy(port)
    flags = (
        f"--s3_endpoint_url={proxy.url}",
        "--s3_access_key_id=key",
        "--s3_secret_access_key=secret",
        "--s3_region_name=us-east-1",
    )
    try:
        yield Store("s3", proxy, {"AWS_EC2_METADATA_DISABLED": "true"}, flags, client)
    finally:
        proxy.close()
        server.stop()
