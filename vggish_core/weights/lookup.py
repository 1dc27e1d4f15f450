"""A name, path or URI -> verified local files of the model: its checkpoint or its PCA parameters. No TensorFlow.

- `released`: the two files published with VGGish. Looked for in $VGGISH_HOME, then in the cache directory, then
  downloaded into the latter. Their MD5s are checked wherever they are found.
- `standin`: random weights for trying things out (`vggish_core.weights.standin`).
- a URI (`gs://…`, `s3://…`): copied into the cache through the caller's opener, kept by content.
- anything else: a local path.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from vggish_core.cache import cache_directory
from vggish_core.digests import digests
from vggish_core.errors import UserError
from vggish_core.network.checkpoints import checkpoint_files
from vggish_core.weights import standin
from vggish_core.weights.download import DownloadError, download

Kind = Literal["checkpoint", "pca_params"]
Opener = Callable[[str], BinaryIO]
"""URI -> its content, open for reading; raises OSError where there is none."""

HOME_VARIABLE = "VGGISH_HOME"
"""Environment variable: a folder with the released files."""
URL_VARIABLE = "VGGISH_URL"
"""Environment variable: where to download them instead of `RELEASED_URL`."""
RELEASED_URL = "https://storage.googleapis.com/audioset"


@dataclass(frozen=True)
class ReleasedFile:
    """A file published with VGGish."""

    name: str
    md5: str


RELEASED: dict[Kind, ReleasedFile] = {
    "checkpoint": ReleasedFile("vggish_model.ckpt", "d1c7011e6366aa34176bb05c705e31a8"),
    "pca_params": ReleasedFile("vggish_pca_params.npz", "c80cae691033abe7c7ecd11ea39fc834"),
}


class WeightsError(UserError, ValueError):
    """Weights that are not there, not the right ones, or cannot be fetched; says what to do."""


@dataclass(frozen=True)
class Weights:
    """A local file of the model.

    Attributes:
      name: what to show: "released", `standin.NAME`, or the path or URI as given.
      path: for `Embedder` or `Postprocessor`; of a V2 checkpoint the part before `.index`.
      sha256: of the file's content; of a V2 checkpoint's index and data files, one after another.
    """

    name: str
    path: str
    sha256: str


def resolve(given: str | os.PathLike[str], kind: Kind, opener: Opener | None = None, sha256: str = "") -> Weights:
    """A user's choice -> a local file.

    Args:
      given: "released", "standin", a path or a URI.
      kind: "checkpoint" or "pca_params".
      opener: for URIs.
      sha256: what the content has to be, "" for anything; a URI's content that the cache has is not fetched again.

    Raises:
      WeightsError: with the remedy.
    """
    given = os.fspath(given)
    found = _find(given, kind, opener, sha256)
    if sha256 and found.sha256 != sha256:
        raise WeightsError(
            f"{kind} {given} is not the file that was asked for: its sha256 is {found.sha256}, not {sha256}",
            "Bring the file with that sha256 to this machine, or start again with the one that is here",
        )
    return found


def _find(given: str, kind: Kind, opener: Opener | None, sha256: str) -> Weights:
    if not given:
        raise WeightsError(f'no {kind} given: name "released", "standin", a path or a URI')
    if given == "released":
        path = _released(kind)
        return Weights("released", str(path), digests(path).sha256)
    if given == "standin":
        try:
            path = standin.files() / (standin.CHECKPOINT_FILE if kind == "checkpoint" else standin.PCA_FILE)
        except (OSError, RuntimeError) as error:
            raise WeightsError(str(error)) from error
        return Weights(standin.NAME, str(path), digests(path).sha256)
    if "://" in given:
        return _fetched(given, kind, opener, sha256)
    return _local(given, kind)


def _local(given: str, kind: Kind) -> Weights:
    name = given.removesuffix(".index") if kind == "checkpoint" else given
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - of "./~", which `Path` makes "~", it is not the home
    parts = checkpoint_files(path) if kind == "checkpoint" else [path]
    try:
        if not parts or not all(part.is_file() for part in parts):
            raise WeightsError(_not_there(given, path, kind))
        digest = digests(*parts).sha256
    except OSError as error:
        raise WeightsError(f"{kind} {given} cannot be read: {error.strerror or error}") from error
    is_standin = path.resolve().parent == standin.directory().resolve()
    return Weights(standin.NAME if is_standin else given, str(path), digest)


def _not_there(given: str, path: Path, kind: Kind) -> str:
    if path.is_dir():
        suffix = ".index" if kind == "checkpoint" else ".npz"
        names = sorted(file.name.removesuffix(".index") for file in path.iterdir() if file.name.endswith(suffix))
        names += sorted(file.name for file in path.iterdir() if kind == "checkpoint" and file.name.endswith(".ckpt"))
        there = f"it holds {', '.join(names)}" if names else "it holds none"
        return f"{kind} {given} is a folder. Name the file in it; {there}."
    choices = f'Name an existing file, "released" or "standin" ({standin.NAME.partition(" ")[2].strip("()")}).'
    return f"{kind} {given} does not exist. {choices}"


def _released(kind: Kind) -> Path:
    file = RELEASED[kind]
    home = os.environ.get(HOME_VARIABLE)
    if home and (path := Path(home).expanduser() / file.name).is_file():
        if (found := digests(path).md5) != file.md5:
            raise WeightsError(
                f"{path} is not the released {file.name}: its MD5 is {found}, not {file.md5}. Replace it, or give its "
                f"path as --{kind} if you mean this file."
            )
        return path
    path = cache_directory() / "released" / file.name
    if path.is_file():
        if (found := digests(path).md5) == file.md5:
            return path
        print(f"{path} is damaged (MD5 {found}, not {file.md5}): fetching it again.", file=sys.stderr)
    url = f"{os.environ.get(URL_VARIABLE, RELEASED_URL).rstrip('/')}/{file.name}"
    print(f"Downloading {url} to {path}.", file=sys.stderr)
    try:
        download(url, path, file.md5)
    except DownloadError as error:
        raise WeightsError(_by_hand(error, path)) from error
    return path


def _by_hand(error: DownloadError, path: Path) -> str:
    files = "\n".join(f"  {RELEASED_URL}/{file.name}  (MD5 {file.md5})" for file in RELEASED.values())
    return (
        f"the released weights could not be fetched: {error}\n"
        f"Download these two files on any machine\n{files}\n"
        f"and put them into {path.parent}, or into a folder that {HOME_VARIABLE} names. To try the software without "
        "them, use --checkpoint standin --pca_params standin."
    )


def _fetched(uri: str, kind: Kind, opener: Opener | None, sha256: str) -> Weights:
    if opener is None:
        raise WeightsError(f"{kind} {uri} is a URI, which cannot be opened here. Copy it to a local file.")
    folder = cache_directory() / "fetched"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(cache_directory() / "locks" / hashlib.sha256(uri.encode()).hexdigest()):
            return _cached(uri, kind, folder, sha256) or _copied(uri, kind, folder, opener)
    except OSError as error:
        raise WeightsError(f"{kind} {uri} cannot be fetched: {error}. Check the URI and your access to it.") from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Processes of this machine enter one after another; where the file system has no locks, all at once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, or by the death of the process
        yield


def _cached(uri: str, kind: Kind, folder: Path, sha256: str) -> Weights | None:
    """The cached content of a URI, if it is known and whole."""
    place = folder / sha256 / _file_name(uri)
    if not sha256 or not place.parent.is_dir():
        return None
    found = _local(str(place), kind)
    if found.sha256 == sha256:
        return Weights(uri, found.path, sha256)
    shutil.rmtree(place.parent, ignore_errors=True)
    return None


def _file_name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2].removesuffix(".index")


def _copied(uri: str, kind: Kind, folder: Path, opener: Opener) -> Weights:
    name = _file_name(uri)
    incoming = Path(tempfile.mkdtemp(prefix="incoming.", dir=folder))
    try:
        _copy(uri.removesuffix(".index"), incoming / name, kind, opener)
        digest = _local(str(incoming / name), kind).sha256
        place = folder / digest
        if not place.is_dir():
            try:
                incoming.rename(place)
            except OSError:
                if not place.is_dir():  # another process was not there first either
                    raise
        return Weights(uri, str(place / name), digest)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _copy(uri: str, path: Path, kind: Kind, opener: Opener) -> None:
    if kind == "checkpoint":
        try:  # a V2 checkpoint, as written by one process, is an index and one data file
            _copy_one(uri + ".index", path.with_name(path.name + ".index"), opener)
        except OSError:
            path.with_name(path.name + ".index").unlink(missing_ok=True)
        else:
            data = ".data-00000-of-00001"
            _copy_one(uri + data, path.with_name(path.name + data), opener)
            return
    _copy_one(uri, path, opener)


def _copy_one(uri: str, path: Path, opener: Opener) -> None:
    with opener(uri) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
