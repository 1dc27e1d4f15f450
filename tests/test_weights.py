from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from vggish_core import digests, weights
from vggish_core.network.postprocess import write_pca_params
from vggish_core.weights import WeightsError, resolve, standin

NO_SERVER = "http://127.0.0.1:9"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no folder of the user's and no network."""
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(weights.URL_VARIABLE, NO_SERVER)
    monkeypatch.delenv(weights.HOME_VARIABLE, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path / "cache"


@pytest.fixture
def released_pca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as the released one: its MD5 is taken for the published one."""
    path = tmp_path / "users" / weights.RELEASED["pca_params"].name
    path.parent.mkdir()
    write_pca_params(path, np.eye(128), np.zeros(128))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(weights.RELEASED, "pca_params", weights.ReleasedFile(path.name, md5))
    return path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL of a loopback server that serves it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_released_file_of_the_users_folder(cache: Path, released_pca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.HOME_VARIABLE, str(released_pca.parent))
    found = resolve("released", "pca_params")
    assert found == weights.Weights("released", str(released_pca), sha256(released_pca.read_bytes()))
    assert not cache.exists()


def test_other_file_in_the_users_folder_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vggish_pca_params.npz").write_bytes(b"mine")
    monkeypatch.setenv(weights.HOME_VARIABLE, str(tmp_path))
    with pytest.raises(WeightsError, match=r"is not the released vggish_pca_params\.npz: its MD5 is .* not c80cae69"):
        resolve("released", "pca_params")


def test_released_file_is_downloaded_once(
    cache: Path, released_pca: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = mirror
    shutil.copy(released_pca, folder)
    monkeypatch.setenv(weights.URL_VARIABLE, url + "/")
    found = resolve("released", "pca_params")
    assert Path(found.path) == cache / "released" / released_pca.name
    assert Path(found.path).read_bytes() == released_pca.read_bytes()
    monkeypatch.setenv(weights.URL_VARIABLE, NO_SERVER)
    assert resolve("released", "pca_params") == found


def test_damaged_file_in_the_cache_is_fetched_again(
    cache: Path,
    released_pca: Path,
    mirror: tuple[Path, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url = mirror
    shutil.copy(released_pca, folder)
    (cache / "released").mkdir(parents=True)
    (cache / "released" / released_pca.name).write_bytes(b"damaged")
    monkeypatch.setenv(weights.URL_VARIABLE, url)
    assert resolve("released", "pca_params").sha256 == sha256(released_pca.read_bytes())
    assert "is damaged" in capsys.readouterr().err


def test_mirror_with_other_bytes_is_refused(
    cache: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = mirror
    (folder / "vggish_model.ckpt").write_bytes(b"a login page")
    monkeypatch.setenv(weights.URL_VARIABLE, url)
    with pytest.raises(WeightsError, match="something else"):
        resolve("released", "checkpoint")
    assert not list((cache / "released").iterdir())


def test_without_a_network_it_says_what_to_download_to_where(cache: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        resolve("released", "checkpoint")
    message = str(caught.value)
    for file in weights.RELEASED.values():
        assert f"{weights.RELEASED_URL}/{file.name}  (MD5 {file.md5})" in message
    assert f"put them into {cache / 'released'}" in message
    assert weights.HOME_VARIABLE in message


def test_path(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "my pca.npz"
    path.write_bytes(b"content")
    assert resolve(path, "pca_params") == weights.Weights(str(path), str(path), sha256(b"content"))
    path.write_bytes(b"other content")
    assert resolve(path, "pca_params").sha256 == sha256(b"other content")
    with pytest.raises(WeightsError, match="is not the file that was asked for: its sha256 is"):
        resolve(path, "pca_params", sha256=sha256(b"content"))


def test_v2_checkpoint_is_its_index_and_data(cache: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "model.ckpt-30"
    for suffix, content in ((".index", b"index"), (".data-00000-of-00001", b"data"), (".meta", b"graph")):
        Path(f"{prefix}{suffix}").write_bytes(content)
    for given in (str(prefix), f"{prefix}.index"):
        found = resolve(given, "checkpoint")
        assert (found.name, found.path, found.sha256) == (given, str(prefix), sha256(b"indexdata"))
    with pytest.raises(WeightsError, match=r"is a folder. Name the file in it; it holds model.ckpt-30\."):
        resolve(tmp_path, "checkpoint")


def test_path_that_is_not_there(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r'none.ckpt does not exist. Name an existing file, "released" or "standin"'):
        resolve(tmp_path / "none.ckpt", "checkpoint")
    with pytest.raises(WeightsError, match="no checkpoint given"):
        resolve("", "checkpoint")


class Bucket:
    """Content by URI, and what was opened."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {f"gs://bucket/{name.replace('__', '.')}": content for name, content in objects.items()}
        self.opened: list[str] = []

    def open(self, uri: str) -> BinaryIO:
        import io

        self.opened.append(uri)
        if uri not in self.objects:
            raise FileNotFoundError(uri)
        return io.BytesIO(self.objects[uri])


def test_uri_is_copied_and_kept_by_content(cache: Path) -> None:
    bucket = Bucket(pca__npz=b"parameters")
    found = resolve("gs://bucket/pca.npz", "pca_params", bucket.open)
    assert found.name == "gs://bucket/pca.npz"
    assert found.sha256 == sha256(b"parameters")
    assert Path(found.path).read_bytes() == b"parameters"
    assert [path.name for path in (cache / "fetched").iterdir()] == [found.sha256]
    # Asked for by content, it comes from the cache; else the bucket is asked what it holds now.
    assert resolve("gs://bucket/pca.npz", "pca_params", bucket.open, found.sha256) == found
    assert len(bucket.opened) == 1
    bucket.objects["gs://bucket/pca.npz"] = b"others"
    assert resolve("gs://bucket/pca.npz", "pca_params", bucket.open).sha256 == sha256(b"others")


def test_damaged_copy_of_a_uri_is_fetched_again(cache: Path) -> None:
    bucket = Bucket(pca__npz=b"parameters")
    found = resolve("gs://bucket/pca.npz", "pca_params", bucket.open)
    Path(found.path).write_bytes(b"damaged!!!")
    assert resolve("gs://bucket/pca.npz", "pca_params", bucket.open, found.sha256) == found
    assert Path(found.path).read_bytes() == b"parameters"


def test_checkpoints_by_uri(cache: Path) -> None:
    bucket = Bucket(v1__ckpt=b"v1", v2__ckpt__index=b"index")
    bucket.objects["gs://bucket/v2.ckpt.data-00000-of-00001"] = b"data"
    assert resolve("gs://bucket/v1.ckpt", "checkpoint", bucket.open).sha256 == sha256(b"v1")
    found = resolve("gs://bucket/v2.ckpt", "checkpoint", bucket.open)
    assert found.sha256 == sha256(b"indexdata")
    assert Path(found.path + ".index").read_bytes() == b"index"


def test_uri_that_cannot_be_opened(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"gs://bucket/none\.npz cannot be fetched"):
        resolve("gs://bucket/none.npz", "pca_params", Bucket().open)
    with pytest.raises(WeightsError, match="Copy it to a local file"):
        resolve("gs://bucket/none.npz", "pca_params")
    assert not list((cache / "fetched").iterdir())


def test_standin_says_what_it_is_however_it_is_named(standin_weights: Path) -> None:
    for given in ("standin", standin_weights / standin.CHECKPOINT_FILE):
        assert resolve(given, "checkpoint").name == "standin (random weights, no meaning)"
    found = resolve("standin", "pca_params")
    assert Path(found.path) == standin_weights / standin.PCA_FILE
    assert found.sha256 == sha256(Path(found.path).read_bytes())


def test_standin_of_two_processes_at_once(standin_weights: Path, cache: Path) -> None:
    """Both are handed what the other has just made: the race is in the last step."""
    folder = standin.directory()
    made = [folder.with_name(f"made-{i}") for i in range(2)]
    for path in made:
        shutil.copytree(standin_weights, path)
    threads = [threading.Thread(target=standin._put, args=(path, folder)) for path in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert standin._sound(folder)
    assert standin.files() == folder


def test_damaged_standin_gives_way(standin_weights: Path, cache: Path) -> None:
    folder = standin.directory()
    folder.mkdir(parents=True)
    (folder / standin.PCA_FILE).write_bytes(b"cut")
    made = folder.with_name("made")
    shutil.copytree(standin_weights, made)
    standin._put(made, folder)
    assert standin._sound(folder)
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_standin_that_cannot_be_made_says_why(cache: Path, tmp_path: Path) -> None:
    cache.write_bytes(b"a file where the cache should be")
    with pytest.raises(WeightsError, match="cache"):
        resolve("standin", "checkpoint")


def test_standin_variables_are_a_frozen_stream() -> None:
    """The first and the last values of a few arrays, as they were when the stream was frozen."""
    stream = standin.variables()
    name, value = next(stream)
    assert name == "vggish/conv1/weights"
    assert value.dtype == np.float32
    assert sha256(value.tobytes()) == "9b2109de8f7b6e7e3691dfa738874d61b78ab0d90eb88e71542b76e91b9740a2"
    name, value = next(stream)
    assert name == "vggish/conv1/biases"
    assert sha256(value.tobytes()) == "9bc787049ddc5183208a44945b96e042fccb2c36a29d91acb070fbf745b1d0ad"


def test_resolving_loads_no_tensorflow(standin_weights: Path) -> None:
    code = (
        "import sys; from vggish_core.weights import resolve; resolve('standin', 'checkpoint');"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0


FETCH = """
import sys, urllib.request
from vggish_core import digests, weights

def opener(uri):
    return urllib.request.urlopen(uri.replace("store://", "http://"), timeout=20)

print(weights.resolve(sys.argv[1], "pca_params", opener, sys.argv[2]).path)
"""


def test_processes_of_one_machine_copy_a_uri_once(cache: Path, tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(100_000)
    asked = []

    class Slow(Quiet):
        def do_GET(self) -> None:
            asked.append(self.path)
            threading.Event().wait(1.0)  # the others arrive meanwhile
            super().do_GET()

    (tmp_path / "pca.npz").write_bytes(content)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        uri = f"store://127.0.0.1:{server.server_port}/pca.npz"
        command = [sys.executable, "-c", FETCH, uri, sha256(content)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        paths = {process.communicate()[0].strip() for process in processes}
        server.shutdown()
        thread.join()
    assert asked == ["/pca.npz"]
    assert paths == {str(cache / "fetched" / sha256(content) / "pca.npz")}
    assert Path(paths.pop()).read_bytes() == content


# Digests that are kept.


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights' size that was written a while ago, and an empty cache."""
    monkeypatch.setenv("VGGISH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_S", -1.0)
    file = tmp_path / "weights"
    file.write_bytes(bytes(digests.LARGE_BYTES))
    return file


def _at_the_next_start(file: Path) -> digests.Digests:
    digests._digests.cache_clear()
    return digests.digests(file)


def _of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_digests_of_large_files_are_kept(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _at_the_next_start(large)
    assert first.sha256 == _of(large)
    monkeypatch.setattr(hashlib, "md5", None)  # it is not read again
    assert _at_the_next_start(large) == first


def test_a_changed_file_is_read_again(large: Path) -> None:
    _at_the_next_start(large)
    before = large.stat()
    with large.open("r+b") as file:
        file.write(b"changed")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy that keeps times leaves it
    assert _at_the_next_start(large).sha256 == _of(large)


def test_a_file_that_was_just_written_is_read_again(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED_S", 3600.0)
    _at_the_next_start(large)
    assert not (large.parent / "cache").exists()


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"md5": "0"}'])
def test_damaged_digests_are_taken_again(large: Path, damage: bytes) -> None:
    first = _at_the_next_start(large)
    (kept,) = (large.parent / "cache" / "digests").iterdir()
    kept.write_bytes(damage)
    assert _at_the_next_start(large) == first
