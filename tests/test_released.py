"""`make test-released` where there is no network, where a server has something else, and from fetch to figures.

The server is a loopback one, and stand-in weights take the place of the released: what compares with published figures
must fail then, and only that.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import made_clips
from tests.command import REPOSITORY, embed
from vggish_core import weights

TESTS = ("-m", "released", "tests/released", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb", "short")
AS_RELEASED = """
import sys, pytest
from vggish_core import weights, digests
for kind, path in zip(("checkpoint", "pca_params"), sys.argv[1:3]):
    weights.RELEASED[kind] = weights.ReleasedFile(weights.RELEASED[kind].name, digests.digests(path).md5)
sys.exit(pytest.main(sys.argv[3:]))
"""
"""Files that count as the released ones, arguments of pytest -> its exit status."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A loopback server of a folder's files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def released(*command: str | Path, url: str, cache: Path, timeout: float = 110, **environment: str) -> tuple[int, str]:
    """The tests of `tests/released` against a server, with an empty cache -> exit status, what is said."""
    own = {weights.URL_VARIABLE: url, "VGGISH_CACHE": str(cache), weights.HOME_VARIABLE: "", **environment}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=REPOSITORY,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout + done.stderr


def outcomes(said: str) -> dict[str, str]:
    """Test -> passed, failed or skipped, of what pytest says with -v."""
    return dict(re.findall(r"^\S+::(\w+) (PASSED|FAILED|SKIPPED|ERROR)", said, re.M))


@pytest.mark.full
def test_without_a_network_they_say_what_they_need_in_a_line(tmp_path: Path) -> None:
    status, said = released("-m", "pytest", *TESTS, url="http://127.0.0.1:9", cache=tmp_path / "cache")
    assert status == 0, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if "needs a network" in line]
    assert lines
    assert all("no connection" in line and "VGGISH_HOME" in line for line in lines)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.full
def test_what_a_server_has_under_their_names_is_no_reason_to_skip(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    for file in weights.RELEASED.values():
        (tmp_path / "served" / file.name).write_text("please log in")
    with serving(tmp_path / "served") as url:
        status, said = released("-m", "pytest", *TESTS, url=url, cache=tmp_path / "cache")
    assert status == 1, said
    assert "the server sent something else" in said
    assert "Traceback" not in said


def test_they_are_not_run_unless_asked_for() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-m", "not ci and not full", "tests/released"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert "::" not in done.stdout, done.stdout
    assert "6 deselected" in done.stdout


@pytest.mark.full
def test_from_fetch_to_figures(standin_weights: Path, tmp_path: Path) -> None:
    clips = made_clips.make(tmp_path / "clips")
    for number, clip in enumerate(sorted(clips.glob("*/*.ogg"))[::5]):  # named as AudioSet's are
        clip.rename(clips / f"-video{number:05d}.ogg")
    for folder in clips.glob("* - *"):
        for clip in folder.iterdir():
            clip.unlink()
        folder.rmdir()
    done = embed(tmp_path / "records", "--input", f"{clips}/*.ogg")
    assert done.status == 0, done.err
    files = [standin_weights / file.name for file in weights.RELEASED.values()]
    with serving(standin_weights) as url:
        status, said = released(
            "-c",
            AS_RELEASED,
            *files,
            *TESTS,
            "-vv",
            url=url,
            cache=tmp_path / "cache",
            VGGISH_RECORDS=f"{tmp_path}/records/embeddings-*",
            VGGISH_AUDIO=str(clips),
        )
    assert status == 1, said
    found = outcomes(said)
    published = {name for name in found if "published" in name}
    assert len(published) == 3
    assert {name: found[name] for name in found.keys() - published} == dict.fromkeys(found.keys() - published, "PASSED")
    assert len(found) == 6
    assert "PASSED" not in {found[name] for name in published}
    assert "mean is" in said  # and not the published one
    for file in weights.RELEASED.values():
        assert (tmp_path / "cache" / "released" / file.name).read_bytes() == (standin_weights / file.name).read_bytes()
