"""The pool against decoder processes that misbehave (tests/hostile/decoder.py), and what is left of it afterwards."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import psutil
import pytest

from pipeline.decoding.decoder_client import Decoder, DecoderStartError
from pipeline.decoding.decoders import DecoderPool, PoolClosedError, kept, release_pool, shared_pool
from pipeline.settings import Decoding, FrontEnd
from pipeline.types import Clip, DecodeRequest, ExampleBlock, Extracted, Failure, Segment, SegmentEnd
from vggish_core.subprocesses import PACKAGES

HOSTILE = (sys.executable, "-m", "tests.hostile.decoder")
DECODING = Decoding(processes=2, timeout_s=60.0, memory_mb=64)
IMPATIENT = Decoding(processes=2, timeout_s=2.0)


def request(*ids: str, uri: str = "file") -> DecodeRequest:
    return DecodeRequest(uri, tuple(Segment(Clip(id, uri)) for id in ids))


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(FrontEnd(), DECODING, HOSTILE) as pool:
        yield pool


@pytest.fixture(scope="module")
def impatient() -> Iterator[DecoderPool]:
    with DecoderPool(FrontEnd(), IMPATIENT, HOSTILE) as pool:
        yield pool


def outcomes(items: Iterable[Extracted]) -> dict[str, str]:
    """Clip id -> "N examples" or the failure's reason; checks that blocks are in order and add up."""
    result: dict[str, str] = {}
    counts: dict[str, int] = {}
    for item in items:
        if isinstance(item, ExampleBlock):
            clip_id = item.segment.clip.id
            assert clip_id not in result
            assert 1 <= len(item.examples) <= 64
            first = counts.get(clip_id, 0)
            assert item.first_example == first
            assert item.examples.shape[1:] == (96, 64)
            assert item.examples.dtype == np.float32
            assert (item.examples == np.arange(first, first + len(item.examples))[:, None, None]).all()
            counts[clip_id] = first + len(item.examples)
        else:
            assert item.clip.id not in result
            if isinstance(item, SegmentEnd):
                assert item.examples == counts.get(item.clip.id, 0)
            result[item.clip.id] = f"{item.examples} examples" if isinstance(item, SegmentEnd) else item.reason
    return result


def test_results_come_in_order_and_add_up(pool: DecoderPool) -> None:
    assert outcomes(pool.submit(request("3", "100", "0", "65"))) == {
        "3": "3 examples",
        "100": "100 examples",
        "0": "0 examples",
        "65": "65 examples",
    }


def test_an_ending_has_what_the_decoder_said_and_the_segment_is_the_pool_s_own(pool: DecoderPool) -> None:
    segment = Segment(Clip("2", "file", 1.5, labels=(3, 7)), index=1, count=4)
    block, ending = pool.submit(DecodeRequest("file", (segment,)))
    assert isinstance(block, ExampleBlock)
    assert block.segment is segment
    assert ending == SegmentEnd(segment.clip, 1, 4, 2, 1.92, 16000, 1, "WAV/PCM_16", False)


def test_what_stops_a_run_stops_no_decoder(pool: DecoderPool) -> None:
    assert outcomes(pool.submit(request("70 stopped", "5"))) == {"70 stopped": "70 examples", "5": "5 examples"}


@pytest.mark.parametrize(
    ("verb", "reason", "message"),
    [
        ("segfault", "crashed", "died of SIGSEGV in string_at"),
        ("killed", "crashed", "died of SIGKILL"),
        ("raise", "crashed", "ValueError: no such thing"),
        ("garbage", "crashed", "sent no message"),
        ("huge", "crashed", "closed its connection"),
        ("gap", "crashed", "sent what does not fit"),
        ("silent end", "crashed", "left out a segment"),
        ("hang", "timed_out", "no progress for 2 s"),
        pytest.param("hang in C", "timed_out", "no progress for 2 s", marks=pytest.mark.ci),
        pytest.param("half a message", "timed_out", "no progress for 2 s", marks=pytest.mark.ci),
        ("balloon", "too_large", "more than 64 MB"),
    ],
)
def test_a_fault_costs_its_own_clip_and_no_neighbour(
    pool: DecoderPool, impatient: DecoderPool, verb: str, reason: str, message: str
) -> None:
    pool = impatient if reason == "timed_out" else pool
    hostile = f"70 {verb}"
    jobs = [pool.submit(request(*ids)) for ids in (["500"], [hostile, "5", "6"], ["7"], ["8"])]
    results = [list(job) for job in jobs]
    assert outcomes(results[0]) == {"500": "500 examples"}
    assert outcomes(results[1]) == {hostile: reason, "5": "5 examples", "6": "6 examples"}
    assert outcomes(results[2] + results[3]) == {"7": "7 examples", "8": "8 examples"}
    (failure,) = [item for item in results[1] if isinstance(item, Failure)]
    assert failure.stage == "extract"
    assert message in failure.message
    assert not failure.skipped


def test_a_fault_before_any_segment_is_the_file_s(pool: DecoderPool) -> None:
    assert outcomes(pool.submit(request("1", "2", uri="segfault"))) == {"1": "crashed", "2": "crashed"}


def test_segments_that_overlap_at_a_fault_are_tried_alone_and_nothing_comes_twice(pool: DecoderPool) -> None:
    got = outcomes(pool.submit(request("130", "70 segfault", "200", uri="together")))
    assert got == {"130": "130 examples", "70 segfault": "crashed", "200": "200 examples"}


@pytest.mark.ci
def test_a_reading_is_given_up_after_two_time_outs(impatient: DecoderPool) -> None:
    got = outcomes(impatient.submit(request("1 hang", "2 hang", "3", "4 hang")))
    assert got == {"1 hang": "timed_out", "2 hang": "timed_out", "3": "timed_out", "4 hang": "timed_out"}


@pytest.mark.ci
def test_time_that_the_consumer_takes_is_not_the_decoder_s(impatient: DecoderPool) -> None:
    job = impatient.submit(request("2000"))
    first = next(job)
    time.sleep(1.5 * IMPATIENT.timeout_s)
    assert outcomes([first, *job]) == {"2000": "2000 examples"}


@pytest.mark.ci
def test_progress_without_results_is_progress(impatient: DecoderPool) -> None:
    """It takes longer than the time-out, and nothing comes meanwhile but signs of life."""
    assert outcomes(impatient.submit(request("1 slow"))) == {"1 slow": "1 examples"}


def test_a_queue_holds_a_bounded_number_of_examples(pool: DecoderPool) -> None:
    job = pool.submit(request("5000"))
    wait_for(lambda: job.results._examples >= 256)
    time.sleep(0.3)
    assert job.results._examples <= 256 + 64
    assert outcomes(job) == {"5000": "5000 examples"}


def test_chatter_of_decoders_goes_nowhere_and_blocks_nothing(pool: DecoderPool, capfd: pytest.CaptureFixture) -> None:
    assert outcomes(pool.submit(request("1 chatter", "2"))) == {"1 chatter": "1 examples", "2": "2 examples"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("consumers", [3])
def test_consumers_that_drain_their_oldest_reading_do_not_block_each_other(pool: DecoderPool, consumers: int) -> None:
    """More consumers than decoders, each with several readings ahead that fill their queues."""
    got: dict[int, list[dict[str, str]]] = {}

    def consume(number: int) -> None:
        jobs = [pool.submit(request("600", f"{400 + i}")) for i in range(3)]
        got[number] = [outcomes(job) for job in jobs]

    threads = [threading.Thread(target=consume, args=(i,), daemon=True) for i in range(consumers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = [{"600": "600 examples", f"{400 + i}": f"{400 + i} examples"} for i in range(3)]
    assert got == dict.fromkeys(range(consumers), expected)


@pytest.mark.parametrize("give_up", ["close", "forget"])
def test_an_abandoned_reading_frees_its_decoder(pool: DecoderPool, give_up: str) -> None:
    jobs = [pool.submit(request("100000")) for _ in range(4)]  # more than there are decoders
    for job in jobs[:2]:
        next(job)
    if give_up == "close":
        for job in jobs:
            job.close()
    else:
        del jobs, job
        gc.collect()
    assert outcomes(pool.submit(request("3"))) == {"3": "3 examples"}


def test_an_abandoned_reading_that_hangs_frees_its_decoder_before_the_time_out() -> None:
    with DecoderPool(FrontEnd(), Decoding(processes=1, timeout_s=1000), HOSTILE) as pool:
        job = pool.submit(request("1 hang"))
        next(job)
        job.close()
        assert outcomes(pool.submit(request("3"))) == {"3": "3 examples"}


def test_processes_are_started_when_there_is_work_reused_and_replaced_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    init = Decoder.__init__

    def counting(self: Decoder, *args: object) -> None:
        init(self, *args)  # type: ignore[arg-type]
        started.append(self.pid)

    monkeypatch.setattr(Decoder, "__init__", counting)
    monkeypatch.setattr("pipeline.decoding.worker_slot.READINGS_A_PROCESS", 4)
    with DecoderPool(FrontEnd(), DECODING, HOSTILE) as pool:
        assert started == []
        for _ in range(4):
            list(pool.submit(request("1")))
        assert len(started) <= 2  # one after the other: usually 1
        for _ in range(8):
            list(pool.submit(request("1")))
        assert len(started) >= 2
    assert not any(psutil.pid_exists(pid) for pid in started)


def test_a_process_that_dies_idle_costs_nothing(pool: DecoderPool) -> None:
    list(pool.submit(request("1")))
    for child in decoder_children():
        child.kill()
        child.wait()
    assert outcomes(pool.submit(request("1", "2"))) == {"1": "1 examples", "2": "2 examples"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([sys.executable, "-c", "import no_such_module"], "No module named 'no_such_module'"),
        (["/no/such/interpreter"], "/no/such/interpreter"),
    ],
)
def test_decoders_that_do_not_start_are_an_error_that_says_why(command: list[str], message: str) -> None:
    with DecoderPool(FrontEnd(), DECODING, command) as pool:
        for _ in range(2):
            with pytest.raises(DecoderStartError, match=message):
                list(pool.submit(request("1")))


def test_closing_ends_processes_threads_and_waiting_consumers() -> None:
    before = threading.active_count()
    pool = DecoderPool(FrontEnd(), DECODING, HOSTILE)
    jobs = [pool.submit(request("1 hang")), pool.submit(request("100000")), pool.submit(request("3"))]
    next(jobs[0])
    next(jobs[1])
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            list(jobs[0])
        except BaseException as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    pool.close()
    waiting.join(10)
    assert [type(error) for error in errors] == [PoolClosedError]
    with pytest.raises(PoolClosedError):
        list(jobs[2])
    with pytest.raises(PoolClosedError):
        pool.submit(request("1"))
    assert threading.active_count() == before


def test_a_shared_pool_lives_as_long_as_its_last_user() -> None:
    first = shared_pool(FrontEnd(), DECODING)
    second = shared_pool(FrontEnd(), DECODING)
    assert first is second
    release_pool(first)
    first.submit(request("x")).close()
    release_pool(second)
    with pytest.raises(PoolClosedError):
        first.submit(request("x"))
    third = shared_pool(FrontEnd(), DECODING)
    assert third is not first
    release_pool(third)


def test_shared_pools_are_kept_with_their_processes_for_those_who_follow() -> None:
    with kept():
        with kept():
            first = shared_pool(FrontEnd(), Decoding(processes=1))
            list(first.submit(request("1")))
            (child,) = decoder_children("pipeline.decoding.process")
            release_pool(first)
        again = shared_pool(FrontEnd(), Decoding(processes=1))
        assert again is first
        list(again.submit(request("1")))
        assert decoder_children("pipeline.decoding.process") == [child]
        still_used = shared_pool(FrontEnd(), DECODING)
        release_pool(again)
    assert not child.is_running()
    with pytest.raises(PoolClosedError):
        first.submit(request("1"))
    still_used.submit(request("x")).close()
    release_pool(still_used)


def test_a_forked_process_does_not_keep_decoders_alive() -> None:
    others = {child.pid for child in decoder_children()}
    with DecoderPool(FrontEnd(), DECODING, HOSTILE) as pool:
        list(pool.submit(request("1")))
        (child,) = [child for child in decoder_children() if child.pid not in others]
        fork = os.fork()
        if fork == 0:
            signal.pause()
            os._exit(0)
        try:
            pool.close()
            assert not child.is_running()
        finally:
            os.kill(fork, signal.SIGKILL)
            os.waitpid(fork, 0)


SCRIPT = """
import psutil, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what they start with & ignore it
from pipeline.decoding.decoders import DecoderPool
from pipeline.settings import Decoding, FrontEnd
from tests.test_decoders import HOSTILE, request
pool = DecoderPool(FrontEnd(), Decoding(3, 60.0, 256), HOSTILE)
jobs = [pool.submit(request(id)) for id in ("100000", "1 hang", "1 hang in C")]
first = [next(job) for job in jobs]
print(*[child.pid for child in psutil.Process().children()], flush=True)
input()
THEN
"""


@pytest.mark.parametrize("end", ["exception", "ctrl-c", "killed"])
def test_no_process_is_left(end: str) -> None:
    then = "raise ValueError" if end == "exception" else "list(jobs[1])"
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("THEN", then)],
        cwd=PACKAGES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]  # they wait for their parent
    try:
        assert len(children) == 3
        if end == "exception":
            parent.stdin.write(b"go on\n")
            parent.stdin.flush()
        if end == "ctrl-c":
            os.killpg(parent.pid, signal.SIGINT)  # a terminal's Ctrl-C: to all of the foreground group
        elif end == "killed":
            parent.kill()
        _, errors = parent.communicate()
        expected = {"exception": ["ValueError"], "ctrl-c": ["KeyboardInterrupt"], "killed": []}[end]
        assert errors.decode().strip().splitlines()[-1:] == expected
        _, alive = psutil.wait_procs(children)
        assert alive == []
    finally:
        for process in children:
            if process.is_running():
                process.kill()
        parent.kill()
        parent.wait()


def decoder_children(module: str = HOSTILE[-1]) -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if module in child.cmdline()]


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
