"""Whether a server keeps memory or files of what it has done."""

import time

# What is lost grows with every lot alike; what threads and their allocator have yet to settle does not.
LOTS = 4


def keeps_nothing(server, lot, allowed: int, settles: float = 5):
    """After one of at most four runs of `lot` the server holds at most `allowed` bytes over what it held before that run, and never more than two files over."""
    files, growths = server.open_files(), []
    for _ in range(LOTS):
        before = server.resident_bytes()
        lot()
        until = time.monotonic() + settles
        server.await_true(lambda: server.open_files() <= files + 2, "closed files")
        while (growth := server.resident_bytes() - before) > allowed and time.monotonic() < until:
            time.sleep(0.05)
        if growth <= allowed:
            return
        growths.append(growth)
    raise AssertionError(f"bytes more after each of {LOTS} lots: {growths}; allowed: {allowed}")
