"""The past of features in a bucket: what comes of it is what comes from a disk, and whatever fails is told by a code.

The server is Moto, a real one over HTTP; see `harness/object_storage.py`.
"""

import datetime as dt
import json
import os
import random
import signal
import subprocess
import time

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from harness import binary
from harness.object_storage import Moto, StorageProxy

DECLARED = """\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
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
  source: {path: "SOURCE", event_time: observed}
  OFFLINE
  features:
    - {name: temperature, type: float32, fallback: missing}
    - {name: sky, type: string, default: unknown}
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: delay}
spec: {owner: flights, features: [{feature: weather:temperature, as: warm}, weather:sky]}
"""
BEGIN = dt.datetime(2013, 1, 1, tzinfo=dt.timezone.utc)


@pytest.fixture(scope="module")
def storage():
    with Moto() as moto:
        yield moto


@pytest.fixture
def moto(storage):
    storage.delete(*storage.keys())
    return storage


def declare(folder, source, offline=None):
    folder.mkdir(exist_ok=True)
    text = DECLARED.replace("SOURCE", source).replace("OFFLINE", f'offline: {{path: "{offline}"}}' if offline else "description: x")
    (folder / "features.yaml").write_text(text)
    return folder


def command(place, action, *arguments):
    return [str(binary()), "features", action, "-f", str(place / "features.yaml"), *map(str, arguments)]


def surroundings(variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name != "HANOK_ALLOW_PRIVATE"}
    return {**kept, "HANOK_ALLOW_PRIVATE": "127.0.0.1", **(variables or {})}


def features(place, action, *arguments, variables=None, check=True):
    done = subprocess.run(command(place, action, *arguments), capture_output=True, text=True, timeout=180, check=False, cwd=place, env=surroundings(variables))
    assert not check or done.returncode == 0, done.stderr
    return done


def rows(count, start=0, keys=500, **more):
    """Rows every ten seconds; of each key one in `keys`."""
    numbers = range(start, start + count)
    observed = pa.array([BEGIN + dt.timedelta(seconds=10 * number) for number in numbers], pa.timestamp("us", tz="UTC"))
    columns = {"origin": [f"K{number % keys:04}" for number in numbers], "observed": observed}
    columns |= {"temperature": pa.array([number / 4 for number in numbers], pa.float32()), "sky": [f"s{number}" for number in numbers]}
    return pa.table(columns | {name: [fill(number) for number in numbers] for name, fill in more.items()})


def entities(count=3000, seed=1):
    generator = random.Random(seed)
    times = [BEGIN + dt.timedelta(seconds=generator.randrange(400_000)) for _ in range(count)]
    names = [f"K{generator.randrange(520):04}" for _ in range(count)]
    return pa.table({"id": range(count), "origin": names, "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC"))})


def fill(folder):
    """Tables in folders, of which some rows are there twice: the last of the files counts, by the order of folders' names."""
    for name, table in [
        ("day=1/a.parquet", rows(8000)),
        ("day=1-again/b.parquet", rows(4000, start=2000).set_column(3, "sky", [[f"again{row}" for row in range(4000)]])),
        ("day=1-again/_hidden.parquet", rows(10)),
        ("day=2/c.parquet", rows(9000, start=8000)),
        ("day=2/_SUCCESS", None),
        ("csv/d.csv", rows(6000, start=17_000)),
        ("empty/e.parquet", rows(0)),
    ]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if table is None:
            path.write_bytes(b"")
        elif name.endswith(".csv"):
            plain = table.set_column(1, "observed", [[time.isoformat() for time in table.column("observed").to_pylist()]])
            pa.csv.write_csv(plain, path)
        else:
            pq.write_table(table, path, row_group_size=1500)


@pytest.mark.parametrize("path", ["weather", "weather/", "weather/**/*.parquet", "weather/day=*/*.parquet", "weather/day=?/?.parquet", "weather/csv/d.csv"])
def test_joins_are_those_from_the_disk(tmp_path, moto, path):
    fill(tmp_path / "weather")
    moto.put_folder("past/weather", tmp_path / "weather")
    moto.put("past/weather/", b"")
    moto.put("past/weather-other/x.parquet", b"not asked for")
    pq.write_table(entities(), tmp_path / "asked.parquet", row_group_size=700)
    moto.put("asked.parquet", tmp_path / "asked.parquet")
    asked = ("--features", "weather:*", "--entities")
    declare(tmp_path, path)
    features(tmp_path, "join", *asked, "asked.parquet", "--out", "disk.parquet")
    features(tmp_path, "join", *asked, "asked.parquet", "--out", "disk.csv")
    bucket = declare(tmp_path / "bucket", f"s3://tables/past/{path}")
    done = features(bucket, "join", *asked, "s3://tables/asked.parquet", "--out", "s3://tables/out/joined.parquet", "--json", variables=moto.variables())
    assert sum(one["filled"] for one in json.loads(done.stdout)["features"]) > 1000
    assert moto.get("out/joined.parquet") == (tmp_path / "disk.parquet").read_bytes()
    features(bucket, "join", *asked, "../asked.parquet", "--out", "s3://tables/out/joined.csv", variables=moto.variables())
    assert moto.get("out/joined.csv") == (tmp_path / "disk.csv").read_bytes()
    features(bucket, "join", *asked, "s3://tables/out/joined.csv", "--full-names", "--out", "again.csv", variables=moto.variables())
    features(tmp_path, "join", *asked, "disk.csv", "--full-names", "--out", "again.csv")
    assert (bucket / "again.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_only_the_columns_and_row_groups_that_are_asked_for_are_read(tmp_path, moto):
    generator = random.Random(2)
    more = {f"wide{number}": lambda _: generator.randbytes(150) for number in range(20)}
    pq.write_table(rows(40_000, **more), tmp_path / "wide.parquet", row_group_size=4000, compression="none", use_dictionary=False)
    moto.put("wide.parquet", tmp_path / "wide.parquet")
    whole = (tmp_path / "wide.parquet").stat().st_size
    assert whole > 100 << 20
    asked = entities().filter(pa.compute.less(entities().column("event_timestamp"), pa.scalar(BEGIN + dt.timedelta(seconds=70_000))))
    pq.write_table(asked, tmp_path / "asked.parquet")
    declare(tmp_path, "wide.parquet")
    features(tmp_path, "join", "--features", "weather:temperature", "--entities", "asked.parquet", "--out", "disk.csv")
    declare(tmp_path, "s3://tables/wide.parquet")
    with StorageProxy(moto.address) as proxy:
        features(tmp_path, "join", "--features", "weather:temperature", "--entities", "asked.parquet", "--out", "bucket.csv", variables=moto.variables(proxy.url))
        read = [wanted for method, path, wanted in proxy.requests if method == "GET" and path.startswith("/tables/wide.parquet")]
        assert None not in read and proxy.bytes_out < whole / 50, (proxy.bytes_out, whole, proxy.requests)
        # The end in two reads, since this one is long; and of two row groups of ten the key, the time and one feature.
        assert len(read) <= 2 + 2 * 3, read
    assert (tmp_path / "bucket.csv").read_bytes() == (tmp_path / "disk.csv").read_bytes()


def test_a_long_csv_streams(tmp_path, moto):
    table = rows(250_000, pad=lambda number: f"{number:0100}")
    pa.csv.write_csv(table.set_column(1, "observed", [[time.isoformat() for time in table.column("observed").to_pylist()]]), tmp_path / "long.csv")
    moto.put("long.csv", tmp_path / "long.csv")
    pq.write_table(entities(), tmp_path / "asked.parquet")
    declare(tmp_path, "long.csv")
    features(tmp_path, "join", "--features", "weather:*", "--entities", "asked.parquet", "--out", "disk.csv")
    declare(tmp_path, "s3://tables/long.csv")
    with StorageProxy(moto.address) as proxy:
        features(tmp_path, "join", "--features", "weather:*", "--entities", "asked.parquet", "--out", "bucket.csv", variables=moto.variables(proxy.url))
        read = [wanted for method, _, wanted in proxy.requests if method == "GET"]
        assert None not in read and max(end - begin for begin, end in read) < 8 << 20
        assert len(read) >= (tmp_path / "long.csv").stat().st_size // (8 << 20)
    assert (tmp_path / "bucket.csv").read_bytes() == (tmp_path / "disk.csv").read_bytes()


def whole_days(moto):
    """What is seen under `past/`, each day read whole."""
    found = {}
    for key in moto.keys("past/"):
        assert key.endswith("/rows.parquet"), key
        found[key.split("/")[1]] = pq.read_table(pa.BufferReader(moto.get(key)))
    return found


def test_days_are_kept_in_a_bucket_and_used(tmp_path, moto):
    generator = random.Random(3)
    table = rows(20_000)
    # The second day takes more than one part.
    long = ["x" * 20 if not 8640 <= row < 17_280 else generator.randbytes(700).hex() for row in range(20_000)]
    table = table.set_column(3, "sky", [long])
    pq.write_table(table, tmp_path / "weather.parquet", row_group_size=3000)
    moto.put("weather.parquet", tmp_path / "weather.parquet")
    period = ("weather", "--from", "2013-01-01", "--to", "2013-01-05")
    disk = declare(tmp_path / "disk", "../weather.parquet", "past")
    features(disk, "backfill", *period)
    bucket = declare(tmp_path / "bucket", "s3://tables/weather.parquet", "s3://tables/past")
    done = features(bucket, "backfill", *period, variables=moto.variables())
    assert "weather: 3 days with 20000 rows written, 0 days were there already, 0 removed" in done.stdout
    days = whole_days(moto)
    assert list(days) == ["day=2013-01-01", "day=2013-01-02", "day=2013-01-03"]
    assert len(moto.get("past/day=2013-01-02/rows.parquet")) > 9 << 20
    for day, found in days.items():
        assert found.equals(pq.read_table(disk / "past" / day / "rows.parquet")), day
    with StorageProxy(moto.address) as proxy:
        done = features(bucket, "backfill", *period, variables=moto.variables(proxy.url))
        assert "0 days with 0 rows written, 3 days were there already" in done.stdout
        assert not [one for one in proxy.requests if one[0] not in ("GET", "HEAD")]
    assert moto.uploads() == 0

    # The past in the bucket is what joins, materialisations and comparisons read.
    pq.write_table(entities(), tmp_path / "asked.parquet")
    for place in (disk, bucket):
        features(place, "join", "--features", "weather:*", "--entities", "../asked.parquet", "--out", "out.csv", variables=moto.variables())
        features(place, "materialize", "--to", "2013-02-01", variables=moto.variables())
    assert (disk / "out.csv").read_bytes() == (bucket / "out.csv").read_bytes()
    asked = [json.dumps({"origin": origin}) for origin in ("K0000", "K0123", "K0499", "none")]
    got = [features(place, "get", "delay", *asked).stdout.splitlines() for place in (disk, bucket)]
    values = [[{name: (one.get("value"), one["from"]) for name, one in json.loads(row).items() if name in ("warm", "sky")} for row in rows] for rows in got]
    assert values[0] == values[1] and values[0][0]["warm"][1] == "store"
    lines = [
        {"time": "2013-01-03T00:00:00Z", "id": "x", "service": "delay", "keys": {"origin": f"K{key:04}"}, "features": {"warm": 1.5, "sky": "x" * 20}}
        for key in range(40)
    ]
    moto.put("served/served-00000000.jsonl", "".join(json.dumps(line) + "\n" for line in lines[:25]).encode())
    moto.put("served/served-00000001.jsonl", "".join(json.dumps(line) + "\n" for line in lines[25:]).encode())
    done = features(bucket, "skew", "delay", "--log", "s3://tables/served", "--json", variables=moto.variables(), check=False)
    assert done.returncode == 3 and json.loads(done.stdout)["rows"] == 40, done.stderr
    done = features(bucket, "skew", "delay", "--log", "s3://tables/served/served-00000001.jsonl", "--json", variables=moto.variables(), check=False)
    assert json.loads(done.stdout)["rows"] == 15, done.stderr

    # The source lost a day: so does the past.
    pq.write_table(table.slice(0, 8640), tmp_path / "weather.parquet")
    moto.put("weather.parquet", tmp_path / "weather.parquet")
    done = features(bucket, "backfill", *period, variables=moto.variables())
    assert "weather: 1 days with 8640 rows written, 0 days were there already, 2 removed" in done.stdout
    assert list(whole_days(moto)) == ["day=2013-01-01"]
    inside = declare(tmp_path / "inside", "s3://tables/past", "s3://tables/past")
    done = features(inside, "backfill", *period, variables=moto.variables(), check=False)
    assert "expected a source outside of the offline folder" in done.stderr


def test_a_backfill_that_is_killed_leaves_no_half_day(tmp_path, moto):
    generator = random.Random(4)
    table = rows(30_000)
    table = table.set_column(3, "sky", [[generator.randbytes(400).hex() for _ in range(30_000)]])
    pq.write_table(table, tmp_path / "weather.parquet", row_group_size=3000)
    declare(tmp_path, "weather.parquet", "s3://tables/past")
    period = ("weather", "--from", "2013-01-01", "--to", "2013-01-05")
    begin = time.monotonic()
    features(tmp_path, "backfill", *period, variables=moto.variables())
    took = time.monotonic() - begin
    expected = whole_days(moto)
    assert [found.num_rows for found in expected.values()] == [8640, 8640, 8640, 4080]
    killed = gone_on = 0
    attempts = 0
    while attempts < 8 or (killed < 3 and attempts < 40):
        attempts += 1
        moto.delete(*moto.keys("past/"))
        process = subprocess.Popen(command(tmp_path, "backfill", *period), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings(moto.variables()))
        begin = time.monotonic()
        try:
            process.wait(took * generator.random())
            # One that ended by itself tells what a whole run takes by now.
            took = min(took, time.monotonic() - begin)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        for day, found in whole_days(moto).items():
            assert found.equals(expected[day])
        done = features(tmp_path, "backfill", *period, variables=moto.variables())
        gone_on += ", 0 days were there already" not in done.stdout
        after = whole_days(moto)
        assert list(after) == list(expected) and all(after[day].equals(expected[day]) for day in expected)
    assert killed >= 3, "too few were hit in the middle"


def test_a_storage_that_is_killed_in_the_middle_is_told(tmp_path):
    generator = random.Random(5)
    table = rows(30_000)
    table = table.set_column(3, "sky", [[generator.randbytes(400).hex() for _ in range(30_000)]])
    pq.write_table(table, tmp_path / "weather.parquet", row_group_size=3000)
    pq.write_table(entities(), tmp_path / "asked.parquet")
    (tmp_path / "out.csv").write_text("before")
    declare(tmp_path, "s3://tables/weather.parquet")
    with Moto() as moto, StorageProxy(moto.address) as proxy:
        moto.put("weather.parquet", tmp_path / "weather.parquet")
        proxy.hold_after(5 << 20)
        arguments = ("join", "--features", "weather:*", "--entities", "asked.parquet", "--out", "out.csv")
        process = subprocess.Popen(
            command(tmp_path, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=surroundings(moto.variables(proxy.url))
        )
        proxy.wait(lambda proxy: proxy.held)
        moto.kill()
        proxy.release()
        _, told = process.communicate(timeout=120)
        assert process.returncode == 1 and "`s3://tables/weather.parquet`: " in told and "(unavailable)" in told, told
        assert "damaged" not in told and "panicked" not in told
    assert (tmp_path / "out.csv").read_text() == "before"
    declare(tmp_path, "weather.parquet", "s3://tables/past")
    with Moto() as moto, StorageProxy(moto.address) as proxy:
        arguments = ("backfill", "weather", "--from", "2013-01-01", "--to", "2013-01-05")
        process = subprocess.Popen(
            command(tmp_path, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=surroundings(moto.variables(proxy.url))
        )
        proxy.wait(lambda proxy: sum("day=2013-01-02" in path and method == "PUT" for method, path, _ in proxy.requests) > 0)
        moto.kill()
        _, told = process.communicate(timeout=120)
        assert process.returncode == 1 and "`s3://tables/past/day=2013-01-0" in told and "(unavailable)" in told, told


def test_an_object_that_is_written_anew_while_it_is_read_is_not_mixed(tmp_path, moto):
    table = rows(250_000, pad=lambda number: f"{number:0100}")
    pa.csv.write_csv(table.set_column(1, "observed", [[time.isoformat() for time in table.column("observed").to_pylist()]]), tmp_path / "long.csv")
    moto.put("long.csv", tmp_path / "long.csv")
    pq.write_table(entities(), tmp_path / "asked.parquet")
    declare(tmp_path, "s3://tables/long.csv")
    with StorageProxy(moto.address) as proxy:
        proxy.hold_after(1 << 20)
        arguments = ("join", "--features", "weather:*", "--entities", "asked.parquet", "--out", "out.csv")
        process = subprocess.Popen(
            command(tmp_path, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=surroundings(moto.variables(proxy.url))
        )
        proxy.wait(lambda proxy: proxy.held)
        moto.put("long.csv", (tmp_path / "long.csv").read_bytes().replace(b"s1", b"t1"))
        proxy.release()
        _, told = process.communicate(timeout=120)
    assert process.returncode == 1 and "`s3://tables/long.csv` was written anew while it was read" in told and "(unavailable)" in told, told
    assert not (tmp_path / "out.csv").exists()


def test_what_keeps_from_a_bucket_is_told_by_its_code(tmp_path):
    pq.write_table(rows(2000), tmp_path / "weather.parquet")
    pq.write_table(entities(50), tmp_path / "asked.parquet")
    with Moto() as moto:
        moto.put("weather.parquet", tmp_path / "weather.parquet")
        moto.put("broken.parquet", (tmp_path / "weather.parquet").read_bytes()[:-100])
        right = moto.check_signatures()
        wrong = {**right, "AWS_SECRET_ACCESS_KEY": "wr0ng-secret"}
        nobody = {**right, "AWS_ACCESS_KEY_ID": "NOBODY"}
        unset = {name: value for name, value in right.items() if "KEY" not in name}
        closed = {**right, "HANOK_ALLOW_PRIVATE": ""}
        away = {**right, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}

        def told(variables, source="s3://tables/weather.parquet", out="out.csv", asked="asked.parquet"):
            declare(tmp_path, source)
            done = features(
                tmp_path, "join", "--features", "weather:*", "--entities", asked, "--out", out, variables=variables, check=False
            )
            assert "panicked" not in done.stderr and "wr0ng-secret" not in done.stderr
            return done.stderr if done.returncode == 1 else f"exit status {done.returncode}"

        assert told(right) == "exit status 0"
        for variables, more, code, text in [
            (wrong, {}, "credentials_refused", "refused the credentials"),
            (nobody, {}, "credentials_refused", "refused the credentials"),
            (wrong, {"source": "weather.parquet", "out": "s3://tables/out.csv"}, "credentials_refused", "`s3://tables/out.csv`"),
            (unset, {}, "credentials_missing", "set AWS_ACCESS_KEY_ID"),
            (closed, {}, "address_refused", "--allow-private"),
            (away, {}, "unavailable", "nobody answers"),
            (right, {"source": "s3://no-such-bucket/weather.parquet"}, "not_found", "no-such-bucket"),
            (right, {"source": "s3://tables/nothing"}, "not_found", "`s3://tables/nothing` does not exist"),
            (right, {"source": "s3://tables/*.csv"}, "not_found", "`s3://tables/*.csv` does not exist"),
            (right, {"asked": "s3://tables/nothing.csv"}, "not_found", "`s3://tables/nothing.csv` does not exist"),
            (right, {"source": "weather.parquet", "out": "s3://no-such-bucket/out.csv"}, "not_found", "no-such-bucket"),
            (right, {"source": "s3://tables/broken.parquet"}, "damaged", "was not written to its end"),
            (right, {"source": "s3://-bad-/x"}, "invalid_argument", "is no bucket name"),
        ]:
            found = told(variables, **more)
            assert f"({code})" in found and text in found, (code, text, found)
        done = features(tmp_path, "skew", "delay", "--log", "s3://tables/served", variables=right, check=False)
        assert done.returncode == 1 and "(not_found)" in done.stderr, done.stderr
