"""Each operation of the storage layer on stores whose requests fail: all of them for a while, or one in five."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline import storage
from tests.engines.stores import Store

OUTAGE_S = 3.0
CONTENT = b"content" * 100


@pytest.fixture(autouse=True)
def one_try_of_the_clients_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon's client tries five times by default, which would hide what we do not."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def operations(uri: Callable[[str], str]) -> dict[str, Callable[[], None]]:
    """Each operation on objects of its own, which asserts its result; `prepare` has made what they need."""

    def write() -> None:
        storage.write_atomic(uri("written"), CONTENT)

    def read() -> None:
        with storage.open_read(uri("read")) as file:
            assert file.read() == CONTENT

    def rename() -> None:
        storage.rename(uri("old"), uri("new"))

    def delete() -> None:
        storage.delete(uri("deleted"))

    def listing() -> None:
        assert [found.uri for found in storage.match(uri("list/**"))] == [uri("list/a"), uri("list/b")]

    def metadata() -> None:
        assert storage.size(uri("read")) == len(CONTENT)
        assert storage.exists(uri("read"))
        assert not storage.exists(uri("nothing"))

    return {each.__name__: each for each in (write, read, rename, delete, listing, metadata)}


def prepare(store: Store, folder: str) -> Callable[[str], str]:
    """Makes what the operations work on, in a folder; gives the URIs of names in it."""
    for name in ("read", "old", "deleted", "list/a", "list/b"):
        store.put(f"{folder}/{name}", CONTENT)
    return lambda name: store.uri(f"{folder}/{name}")


def assert_done(store: Store, folder: str) -> None:
    found = store.content(folder)
    assert set(found) == {"read", "written", "new", "list/a", "list/b"}
    assert set(found.values()) == {CONTENT}


def test_all_operations_outlast_an_outage(reached: Store) -> None:
    uri = prepare(reached, "folder")
    assert storage.exists(uri("read"))  # what a first operation imports may take longer than the outage
    with ThreadPoolExecutor(6) as threads:
        reached.proxy.fail(1, seconds=OUTAGE_S)
        started = time.monotonic()
        running = {name: threads.submit(operation) for name, operation in operations(uri).items()}
        failed = {name: error for name, future in running.items() if (error := future.exception())}
    assert not failed
    assert time.monotonic() - started > OUTAGE_S
    assert reached.proxy.trouble.failed >= len(running)
    assert_done(reached, "folder")


@pytest.mark.parametrize("seed", range(3))
def test_no_operation_is_lost_where_one_request_in_five_fails(
    reached: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_operations(reached, seed, 60, monkeypatch)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10))
def test_five_thousand_operations_of_ten_seeds(reached: Store, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    many_operations(reached, seed, 500, monkeypatch)


def many_operations(store: Store, seed: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs operations in random order while a fifth of all requests fails; pauses are left out."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    done = 0
    while done < count:
        folder = f"folder{done}"
        todo = list(operations(prepare(store, folder)).items())
        random.Random(seed + done).shuffle(todo)
        store.proxy.fail(0.2, seed=seed * 1_000_003 + done)
        for _, operation in todo:
            operation()
            done += 1
        store.proxy.fail(0)
        assert_done(store, folder)
    assert done >= count
