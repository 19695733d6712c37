"""`hanok features backfill` of a past that is several times larger than the memory that it may take: the same days, and the bound holds."""

import random
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import binary

DECLARED = """\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: int64}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: main}
spec: {embedded: {path: features.db}}
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec:
  entities: [origin]
  store: main
  owner: flights
  source: {path: source, event_time: observed, created_time: written}
  offline: {path: past}
  features:
    - {name: temperature, type: float64, fallback: missing}
    - {name: sky, type: string, fallback: fail}
    - {name: gusts, type: "list<float32>", fallback: missing}
"""
PERIOD = ("weather", "--from", "2013-01-01", "--to", "2013-02-10")
BEGIN = 1_356_998_400
ROWS, FILES, TEXT = 1_500_000, 6, 200
MEMORY_MEGABYTES = 64


def table(generator, rows):
    """Rows in no order, a third of them within one hour, many of one time, some without a value or a key."""
    times = generator.integers(0, 40 * 86_400, rows)
    third = rows // 3
    times[:third] = 5 * 86_400 + 7 * 3600 + generator.integers(0, 3600, third)
    generator.shuffle(times)
    letters = generator.integers(97, 123, rows * TEXT, dtype=np.uint8)
    offsets = np.arange(0, (rows + 1) * TEXT, TEXT, dtype=np.int32)
    sky = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(letters))
    ends = np.concatenate([[0], np.cumsum(generator.integers(0, 4, rows))]).astype(np.int32)
    gusts = pa.ListArray.from_arrays(pa.array(ends), pa.array(generator.random(ends[-1], dtype=np.float32)))
    return pa.table({
        "origin": pa.array(generator.integers(0, 1000, rows), mask=generator.random(rows) < 0.001),
        "observed": pa.array((BEGIN + times) * 1_000_000, pa.timestamp("us", tz="UTC")),
        "written": pa.array(generator.integers(0, 3, rows) * 1_000_000, pa.timestamp("us", tz="UTC"), mask=generator.random(rows) < 0.3),
        "temperature": pa.array(generator.random(rows), mask=generator.random(rows) < 0.1),
        "sky": sky,
        "gusts": gusts,
    })


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("little")
    (folder / "features.yaml").write_text(DECLARED)
    (folder / "source").mkdir()
    generator = np.random.default_rng(7)
    for number in range(FILES):
        pq.write_table(table(generator, ROWS // FILES), folder / f"source/{number}.parquet", row_group_size=20_000)
    return folder


def command(place, *arguments):
    return [str(binary()), "features", "backfill", "-f", str(place / "features.yaml"), *PERIOD, *arguments]


# What a process took at most counts what its parent had when it was started, so its parent is a small one.
MEASURED = "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(done.returncode)"


def backfill(place, *arguments):
    """Its most memory in MiB, and what it told."""
    done = subprocess.run([sys.executable, "-S", "-c", MEASURED, *command(place, *arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1]) / 1024, done.stdout


def days(place):
    return {path.parent.name: pq.read_table(path) for path in sorted((place / "past").rglob("rows.parquet"))}


def forget(place):
    for path in (place / "past").rglob("rows.parquet"):
        path.unlink()


def test_the_days_are_the_same_and_the_bound_holds(place):
    most, told = backfill(place, "--memory", "8GiB")
    expected = days(place)
    assert len(expected) == 40 and sum(found.num_rows for found in expected.values()) > ROWS * 0.99
    assert not (place / ".hanok").exists(), "what fits waits in memory"
    forget(place)
    little, told_little = backfill(place, "--memory", f"{MEMORY_MEGABYTES}MiB")
    print(f"memory: {most:.0f} MiB without a bound, {little:.0f} MiB with one of {MEMORY_MEGABYTES} MiB")
    assert told_little == told
    found = days(place)
    assert list(found) == list(expected)
    for day, rows in found.items():
        assert rows.equals(expected[day]), day
    assert most > 6 * MEMORY_MEGABYTES, "the past is too small for this test"
    assert little < 3 * MEMORY_MEGABYTES, f"{little:.0f} MiB"
    assert list((place / ".hanok/backfill").iterdir()) == []


def test_one_that_is_killed_goes_on_and_leaves_no_runs(place):
    forget(place)
    backfill(place, "--memory", "8GiB")
    expected = days(place)
    generator = random.Random(9)
    killed = 0
    for _ in range(4):
        forget(place)
        process = subprocess.Popen(command(place, "--memory", f"{MEMORY_MEGABYTES}MiB"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(1 + 4 * generator.random())
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        for day, rows in days(place).items():
            assert rows.equals(expected[day]), day
        backfill(place, "--memory", f"{MEMORY_MEGABYTES}MiB")
        assert all(rows.equals(expected[day]) for day, rows in days(place).items())
        assert list((place / ".hanok/backfill").iterdir()) == []
    assert killed >= 1, "none was hit in the middle"
