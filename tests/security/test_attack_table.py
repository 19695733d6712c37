"""Runs every case in random order on one server, with what must hold beside each answer (I1 to I5)."""

import random
import time

import pytest

from security import content_cases, http2_cases, model_cases, transport_cases  # noqa: F401 - they register their cases
from security.attack import CASES
from security.conftest import SEED

ORDER = sorted(CASES, key=lambda one: one.name)
random.Random(SEED).shuffle(ORDER)

# Longest time that a case may take; the table says 10 s.
CASE_SECONDS = 10

# Within what time `live` must be answered, whatever happens beside it (I1).
LIVE_MILLISECONDS = 100


@pytest.mark.parametrize("attack", ORDER, ids=[one.name for one in ORDER])
def test_case(attack, target, watcher):
    # A busy machine can delay one answer; a case that delays answers does so every time.
    for attempt in (1, 2, 3):
        figures, seconds = run_watched(attack, target, watcher)
        assert figures["failures"] == 0, figures
        if figures["worst_live_ms"] < LIVE_MILLISECONDS and seconds < CASE_SECONDS:
            return
    assert figures["worst_live_ms"] < LIVE_MILLISECONDS, figures
    assert seconds < CASE_SECONDS, f"the case took {seconds:.1f} s"


def run_watched(attack, target, watcher):
    server = target.process
    watcher.figures()
    started = time.monotonic()
    attack.run(target)
    seconds = time.monotonic() - started
    figures = watcher.figures()
    assert server.process.poll() is None, "the process ended"
    assert "panicked" not in server.log(), server.log()[-3000:]
    return figures, seconds


def test_nothing_is_left_behind(target):
    """I3: after repeats, memory and open files are where they were."""
    server = target.process
    quick = [attack for attack in ORDER if attack.quick]

    def repeat(times):
        for _ in range(times):
            for attack in quick:
                attack.run(target)
        server.await_true(lambda: server.open_files() < 200, "closed connections")
        return server.resident_bytes(), server.open_files()

    # The allocator settles after a dozen rounds.
    memory, files = repeat(18)
    repeat(8)
    # What the last case left is given back in a moment; what leaks stays.
    server.await_true(lambda: server.open_files() <= files + 3, "the files of before")
    growth = lambda: (server.resident_bytes() - memory) / 2**20  # noqa: E731
    server.await_true(lambda: growth() <= 1, f"the memory of before 8 rounds of {len(quick)} cases, now {growth():.2f} MiB more")


def test_the_million_chunks_leave_no_memory(target):
    """Triton's own bound: the chunked request over and over, and at most a mebibyte more (CVE-2025-23310)."""
    server = target.process
    for _ in range(5):
        transport_cases.chunks_over_the_limit(target)
    before = server.resident_bytes()
    for _ in range(20):
        transport_cases.chunks_over_the_limit(target)
    server.await_true(lambda: server.resident_bytes() <= before + (1 << 20), "the memory of before")
