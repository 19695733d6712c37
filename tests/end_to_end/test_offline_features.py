"""`hanok features join`, `materialize`, `backfill` and `skew`: the past of features, from the command line."""

import csv
import datetime as dt
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import binary

HEAD = """\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: main}
spec: STORE
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec:
  entities: [origin]
  store: main
  owner: flights
  maximum_age_seconds: 7200
  source: SOURCE
  OFFLINE
  features:
    - {name: temperature, type: float32, fallback: missing}
    - {name: sky, type: string, default: unknown, maximum_age_seconds: 3600}
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: delay}
spec: {owner: flights, features: [{feature: weather:temperature, as: warm}, weather:sky]}
"""
EMBEDDED = "{embedded: {path: features.db}}"
SOURCE = "{path: weather.csv, event_time: observed, created_time: written, columns: {temperature: temp}}"
ROWS = """\
origin,observed,written,temp,sky
JFK,2013-01-01T05:00:00Z,1,39.5,clear
JFK,2013-01-01T06:00:00Z,3,41.0,second
JFK,2013-01-01T06:00:00Z,2,40.0,first
EWR,2013-01-01T05:00:00+00:00,,,fog
,2013-01-01T05:00:00Z,1,1,nobody
EWR,,1,1,never
"""


@pytest.fixture
def place(tmp_path):
    declare(tmp_path)
    (tmp_path / "weather.csv").write_text(ROWS)
    return tmp_path


def declare(folder, source=SOURCE, offline="", store=EMBEDDED):
    text = HEAD.replace("SOURCE", source).replace("STORE", store)
    (folder / "features.yaml").write_text(text.replace("OFFLINE", f"offline: {{path: {offline}}}" if offline else "description: x"))


def features(place, action, *arguments, check=True):
    command = [str(binary()), "features", action, "-f", str(place / "features.yaml"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=place)
    assert not check or done.returncode == 0, done.stderr
    return done


def join(place, entities, *arguments, out="out.csv", check=True):
    (place / "entities.csv").write_text(entities)
    asked = arguments or ("--features", "weather:*")
    done = features(place, "join", *asked, "--entities", "entities.csv", "--out", out, check=check)
    if check and out.endswith(".csv"):
        with open(place / out, encoding="utf-8", newline="") as file:
            return list(csv.reader(file))
    return done


def served(place, *origins):
    done = features(place, "get", "delay", *(json.dumps({"origin": origin}) for origin in origins))
    return [json.loads(line) for line in done.stdout.splitlines()]


ASKED = """\
id,origin,event_timestamp,note
7,JFK,2013-01-01T06:00:00Z,"a, b"
6,JFK,2013-01-01 05:59:59,
5,EWR,1357016400,
4,EWR,2013-01-01T04:59:59.999999Z,
3,JFK,2013-01-01T08:00:00Z,exactly
2,JFK,2013-01-01T08:00:00.000001Z,
1,,2013-01-01T08:00:00Z,
0,LGA,2013-01-01T08:00:00Z,
"""


def test_rows_get_what_held_at_their_time(place):
    header, *rows = join(place, ASKED)
    assert header == ["id", "origin", "event_timestamp", "note", "temperature", "sky"]
    found = {row[0]: row[3:] for row in rows}
    assert [row[0] for row in rows] == list("76543210")
    assert found["7"] == ["a, b", "41.0", "second"]  # the one that was written last
    assert found["6"] == ["", "39.5", "clear"]
    assert found["5"] == ["", "", "fog"]  # null stays null: no default in a training set
    assert found["4"] == ["", "", ""]  # a microsecond before
    assert found["3"] == ["exactly", "41.0", ""]  # as old as may be; the sky may not be so old
    assert found["2"] == found["1"] == found["0"] == ["", "", ""]


def test_services_are_joined_as_inputs_and_reported(place):
    header, *rows = join(place, ASKED, "--service", "delay")
    assert header[-2:] == ["warm", "sky"]
    join(place, ASKED, "--service", "delay", out="out.parquet")
    table = pq.read_table(place / "out.parquet")
    assert [str(field.type) for field in table.schema] == ["int64", "string", "timestamp[us, tz=UTC]", "string", "float", "string"]
    assert table.column("warm").to_pylist() == [41.0, 39.5, None, None, 41.0, None, None, None]
    done = features(place, "join", "--service", "delay", "--entities", "entities.csv", "--out", "out.csv", "--json")
    report = json.loads(done.stdout)
    assert report["rows"] == 8
    assert report["views"] == [{"view": "weather", "rows_read": 6, "rows_without_time": 1, "rows_without_key": 1, "found": 5}]
    assert [(one["column"], one["filled"], one["too_old"]) for one in report["features"]] == [("warm", 3, 1), ("sky", 3, 2)]


MISTAKES = [
    ("entities", "origin,when\nJFK,1\n", "column `event_timestamp`: expected this column, got `origin`, `when` (invalid_argument)"),
    ("entities", "event_timestamp\n1\n", "column `origin`: expected this column"),
    ("entities", "origin,event_timestamp\nJFK,1\nJFK,\n", "column `event_timestamp`, row `2`: expected a time in every row, got null"),
    ("entities", "origin,event_timestamp\nJFK,soon\n", "row `1`: expected an instant between 1677 and 2262"),
    ("entities", "origin,event_timestamp\nJFK,9999-12-31T00:00:00Z\n", "row `1`: expected an instant between 1677 and 2262"),
    ("entities", "origin,event_timestamp,sky\nJFK,1,x\n", "`sky` is a column of the entities; ask for full names"),
    ("entities", "", "expected a header line, got an empty file (damaged)"),
    ("entities", "origin,origin,event_timestamp\n", "expected names that differ"),
    ("entities", "origin,event_timestamp\nJFK\n", "line `2`"),
    ("entities", "origin,event_timestamp\n" + "x" * (1 << 20) + ",1\n", "expected a key of at most `4096` bytes, got `1048576`"),
    ("weather.csv", ROWS.replace("39.5", "warm"), "column `temp`, row `1`: expected a value of type `float32`, got `warm`"),
    ("weather.csv", ROWS.replace("temp", "tmp"), "column `temp`: expected this column, got `origin`, `observed`, `written`, `tmp`, `sky`"),
    ("weather.csv", ROWS.replace("\nJFK", "\n" + "x" * 5000), None),
    ("weather.csv", None, "does not exist, or holds no `.parquet` or `.csv` (not_found)"),
]


@pytest.mark.parametrize(("file", "text", "told"), MISTAKES)
def test_mistakes_are_told_with_their_place(place, file, text, told):
    entities = text if file == "entities" else "origin,event_timestamp\nJFK,1357016400\n"
    if file != "entities":
        if text is None:
            (place / file).unlink()
        else:
            (place / file).write_text(text)
    (place / "out.csv").write_text("before")
    done = join(place, entities, out="out.csv", check=False)
    if told is None:
        # A key that nobody asks for, but too long for any store.
        told = "expected a key of at most `4096` bytes"
    assert done.returncode == 1, done.stdout
    assert told in done.stderr, done.stderr
    assert (place / "out.csv").read_text() == "before"
    assert sorted(path.name for path in place.iterdir() if path.name.startswith(".")) == []


def test_files_that_are_no_parquet_or_half_of_one(place):
    declare(place, source="{path: weather.parquet, event_time: observed}")
    table = pa.table({"origin": ["JFK"] * 5000, "observed": pa.array(range(5000), pa.timestamp("s")), "temperature": [float(row) for row in range(5000)], "sky": ["x"] * 5000})
    pq.write_table(table, place / "weather.parquet")
    whole = (place / "weather.parquet").read_bytes()
    entities = "origin,event_timestamp\nJFK,1970-01-01T01:00:00Z\n"
    assert join(place, entities)[1][-2:] == ["3600.0", "x"]
    generator = random.Random(5)
    cases = [b"", b"PAR1", whole[: len(whole) // 2], whole[:-1], b"<html>no</html>" * 100, b"PAR1" + b"\xff" * 2000 + b"PAR1"]
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(8):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        cases.append(bytes(broken))
    for case in cases:
        (place / "weather.parquet").write_bytes(case)
        done = join(place, entities, check=False)
        assert done.returncode in (0, 1), (done.returncode, done.stderr)
        assert "panicked" not in done.stderr and (done.returncode == 0 or "weather.parquet" in done.stderr), done.stderr
    for case in cases[:6]:
        (place / "weather.parquet").write_bytes(case)
        done = join(place, entities, check=False)
        assert done.returncode == 1 and "is damaged, or was not written to its end" in done.stderr, done.stderr


def test_declarations_of_sources_are_checked(place):
    for source, told in [
        ("{path: weather.csv}", "spec.source: missing field `event_time`"),
        ("{path: \"https://host/x\", event_time: observed}", "spec.source.path: expected a path on this machine, or `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, got `https://host/x`"),
        ("{path: \"s3://key:secret@bucket/x\", event_time: observed}", "spec.source.path: expected a path on this machine, or `s3://BUCKET/PATH`"),
        ("{path: x, event_time: a, created_time: a}", "spec.source.created_time: expected another column than `event_time`"),
        ("{path: x, event_time: a, colums: {}}", "unknown field `colums`; did you mean `columns`?"),
    ]:
        declare(place, source=source)
        done = subprocess.run([str(binary()), "features", "validate", str(place / "features.yaml")], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and told in done.stderr, done.stderr
        assert "features.yaml:20: FeatureView/weather" in done.stderr or "features.yaml:" in done.stderr
    declare(place, source="{event_time: observed}")
    done = join(place, "origin,event_timestamp\n", check=False)
    assert "feature view `weather`: expected `source.path` with the files of its rows, got none" in done.stderr


def test_materialised_rows_are_served(place):
    done = features(place, "materialize", "--to", "2013-01-01T05:30:00Z")
    assert "weather: 2 rows written, 0 left out because a newer one is there" in done.stdout
    assert "1 rows left out without a time, 1 without a key" in done.stdout
    jfk, ewr = served(place, "JFK", "EWR")
    age = time.time() - 1357016400
    assert jfk["warm"]["from"] == "missing" and jfk["sky"]["from"] == "default", "older than may be served"
    assert abs(jfk["warm"].get("age_seconds", age) - age) < 600
    declare_ageless(place)
    jfk, ewr = served(place, "JFK", "EWR")
    assert (jfk["warm"]["value"], jfk["sky"]["value"]) == (39.5, "clear")
    assert (ewr["warm"]["from"], ewr["sky"]["value"]) == ("missing", "fog")
    # It goes on where it ended, and of two rows of one moment takes the one that was written last.
    done = features(place, "materialize")
    assert "weather: 1 rows written, 0 left out" in done.stdout
    assert served(place, "JFK")[0]["sky"]["value"] == "second"
    done = features(place, "materialize", "--from", "2013-01-01", "--to", "2013-01-01T05:30:00Z")
    assert "weather: 1 rows written, 1 left out because a newer one is there" in done.stdout
    assert served(place, "JFK")[0]["sky"]["value"] == "second"
    # An earlier interval moves nothing back: what comes after the last end is still what is read next.
    done = features(place, "materialize")
    assert "weather: 0 rows written" in done.stdout


def declare_ageless(place, **more):
    declare(place, **more)
    file = place / "features.yaml"
    file.write_text(file.read_text().replace("  maximum_age_seconds: 7200\n", "").replace(", maximum_age_seconds: 3600", ""))


KEYS = 30_000


def many_rows(place, start=0):
    """Two rows a key, on three days; the later one counts."""
    rows = KEYS * 2
    numbers = range(rows)
    begin = dt.datetime(2013, 1, 1, tzinfo=dt.timezone.utc)
    pq.write_table(
        pa.table({
            "origin": [f"K{row % KEYS:05}" for row in numbers],
            "observed": pa.array([begin + dt.timedelta(seconds=row * 4) for row in numbers], pa.timestamp("us", tz="UTC")),
            "temperature": pa.array([float(start + row) for row in numbers], pa.float32()),
            "sky": [f"s{row}" for row in numbers],
        }),
        place / "weather.parquet",
        row_group_size=5000,
    )


PARQUET = "{path: weather.parquet, event_time: observed}"


def killed_at(place, seconds, action, *arguments):
    """Starts a command and kills it then; whether it had ended before."""
    command = [str(binary()), "features", action, "-f", str(place / "features.yaml"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place)
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    finally:
        process.communicate()


def test_a_materialisation_that_is_killed_is_run_again(tmp_path):
    declare_ageless(tmp_path, source=PARQUET)
    many_rows(tmp_path)
    generator = random.Random(3)
    killed, whole = 0, 0.0
    number = -1
    while number < 11 or (killed < 3 and number < 60):
        number += 1
        many_rows(tmp_path, start=(number + 1) * 1000)
        (tmp_path / "features.db").unlink(missing_ok=True)
        for left in ("features.db-wal", "features.db-shm"):
            (tmp_path / left).unlink(missing_ok=True)
        mark = tmp_path / ".hanok/materialized/weather.main.json"
        mark.unlink(missing_ok=True)
        halfway = killed_at(tmp_path, whole * generator.random(), "materialize", "--to", "2013-02-01")
        # Marked is done, also when the kill came after it: then nothing is run again.
        if not mark.exists():
            killed += halfway and number > 0
            begin = time.monotonic()
            features(tmp_path, "materialize", "--to", "2013-02-01")
            whole = time.monotonic() - begin
        assert mark.exists()
        assert [path.name for path in mark.parent.iterdir()] == [mark.name]
        for row in served(tmp_path, "K00000", "K29999", "K12345"):
            key = int(row["origin"]["value"][1:]) if "origin" in row else None
            newest = float(row["warm"]["value"]) - (number + 1) * 1000
            assert newest >= KEYS and (key is None or newest == KEYS + key), row
            assert row["sky"]["value"] == f"s{int(newest)}"
    assert killed >= 3, "too few were hit in the middle"


def days(place):
    return sorted(path.parent.name.removeprefix("day=") for path in (place / "past").rglob("*.parquet"))


def test_days_are_backfilled_and_joined(tmp_path):
    declare_ageless(tmp_path, source=PARQUET, offline="past")
    many_rows(tmp_path)
    entities = "id,origin,event_timestamp\n" + "".join(f"{row},K{row * 7 % KEYS:05},2013-01-0{1 + row % 3}T12:00:00Z\n" for row in range(3000))
    done = join(tmp_path, entities, check=False)
    assert "does not exist, or holds no" in done.stderr
    done = features(tmp_path, "backfill", "weather", "--from", "2013-01-01", "--to", "2013-01-06")
    assert "weather: 3 days with 60000 rows written, 0 days were there already, 0 removed" in done.stdout
    assert days(tmp_path) == ["2013-01-01", "2013-01-02", "2013-01-03"]
    from_days = join(tmp_path, entities)
    declare_ageless(tmp_path, source=PARQUET)
    assert join(tmp_path, entities) == from_days
    assert sum(row[-1] != "" for row in from_days) > 1500
    table = pq.read_table(tmp_path / "past")
    assert table.num_rows == KEYS * 2 and {"origin", "event_timestamp", "temperature", "sky"} <= set(table.column_names)

    declare_ageless(tmp_path, source=PARQUET, offline="past")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "past").rglob("*.parquet")}
    done = features(tmp_path, "backfill", "weather", "--from", "2013-01-01", "--to", "2013-01-04")
    assert "0 days with 0 rows written, 3 days were there already" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "past").rglob("*.parquet")}
    # The source lost a day and changed another: days follow, those outside of the period stay.
    source = pq.read_table(tmp_path / "weather.parquet").to_pandas()
    source = source[source.observed.dt.day != 2]
    source.loc[source.observed.dt.day == 3, "sky"] = "mended"
    source.to_parquet(tmp_path / "weather.parquet", index=False)
    done = features(tmp_path, "backfill", "weather", "--from", "2013-01-02", "--to", "2013-01-04")
    assert "1 days with" in done.stdout and "1 removed because they have no rows any more" in done.stdout
    assert days(tmp_path) == ["2013-01-01", "2013-01-03"]
    assert set(pq.read_table(tmp_path / "past/day=2013-01-03").column("sky").to_pylist()) == {"mended"}
    features(tmp_path, "materialize", "--to", "2013-02-01")
    assert served(tmp_path, "K29999")[0]["sky"]["value"] == "mended"


def test_a_backfill_that_is_killed_goes_on(tmp_path):
    declare_ageless(tmp_path, source=PARQUET, offline="past")
    many_rows(tmp_path)
    period = ("weather", "--from", "2013-01-01", "--to", "2013-01-05")
    begin = time.monotonic()
    features(tmp_path, "backfill", *period)
    whole = time.monotonic() - begin
    expected = pq.read_table(tmp_path / "past").sort_by("event_timestamp").to_pydict()
    generator = random.Random(4)
    killed = resumed = 0
    attempts = 0
    while attempts < 15 or (killed < 3 and attempts < 60):
        attempts += 1
        for path in (tmp_path / "past").rglob("*"):
            if path.is_file():
                path.unlink()
        begin = time.monotonic()
        halfway = killed_at(tmp_path, whole * generator.random(), "backfill", *period)
        killed += halfway
        # One that ended by itself tells what a whole run takes by now.
        whole = whole if halfway else min(whole, time.monotonic() - begin)
        for path in (tmp_path / "past").rglob("*.parquet"):
            if not path.name.startswith("."):
                pq.read_table(path)  # whole, or not there
        done = features(tmp_path, "backfill", *period)
        resumed += ", 0 days were there already" not in done.stdout
        assert pq.read_table(tmp_path / "past").sort_by("event_timestamp").to_pydict() == expected
        assert [path.name for path in (tmp_path / "past").rglob(".*")] == []
    assert killed >= 3, "too few were hit in the middle"


@pytest.fixture
def redis():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        pytest.skip("redis-server is not installed")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            pass
    yield port
    server.kill()
    server.wait()


def test_redis_hashes_are_materialised(place, redis):
    store = f'{{redis_hash: {{url: "redis://127.0.0.1:{redis}", key: "weather:{{origin}}", event_time: at}}}}'
    declare_ageless(place, store=store)
    done = features(place, "materialize", "--to", "2013-01-02")
    assert "weather: 2 rows written, 0 left out" in done.stdout
    jfk, ewr = served(place, "JFK", "EWR")
    assert (jfk["warm"]["value"], jfk["sky"]["value"]) == (41.0, "second")
    assert (ewr["warm"]["from"], ewr["sky"]["value"]) == ("missing", "fog")
    done = features(place, "materialize", "--from", "2013-01-01", "--to", "2013-01-01T05:30:00Z")
    assert "weather: 1 rows written, 1 left out because a newer one is there" in done.stdout
    assert served(place, "JFK")[0]["sky"]["value"] == "second"


INPUTS = [("warm", "FP32", [1]), ("sky", "BYTES", [1])]
OUTPUTS = [(f"{name}_seen", kind, dims) for name, kind, dims in INPUTS]


def test_what_was_served_is_compared_with_the_past(tmp_path, repository, serve):
    declare_ageless(tmp_path, source="{path: weather.csv, event_time: observed}")
    rows = [f"K{row},2013-01-01T05:00:00Z,{row}.5,s{row}" for row in range(40)]
    (tmp_path / "weather.csv").write_text("\n".join(["origin,observed,temperature,sky", *rows, ""]))
    features(tmp_path, "materialize")
    folder = repository.add("ride", inputs=INPUTS, outputs=OUTPUTS, parameters={"feature_service": "delay"}, config="dynamic_batching { }")
    server = serve(folder, "--features", str(tmp_path / "features.yaml"), "--feature-log", str(tmp_path / "log"))

    def ask(number, **more):
        inputs = [{"name": "origin", "datatype": "BYTES", "shape": [1, 1], "data": [f"K{number}"]}]
        inputs += [{"name": name, "datatype": "FP32", "shape": [1, 1], "data": [value]} for name, value in more.items()]
        reply = server.post("/v2/models/ride/infer", {"id": f"r{number}", "inputs": inputs})
        assert reply.status == 200, reply.body

    for number in range(40):
        ask(number)
    server.await_true(lambda: server.metrics().value("hanok_feature_log_rows_total") == 40, "rows in the log")
    assert server.metrics().value("hanok_feature_log_dropped_rows_total") == 0
    server.signal()
    assert server.exit_code() == 0
    lines = [json.loads(line) for path in sorted((tmp_path / "log").iterdir()) for line in path.read_text().splitlines()]
    assert {line["id"] for line in lines} == {f"r{number}" for number in range(40)}
    assert lines[0]["service"] == "delay" and lines[0]["keys"]["origin"].startswith("K")

    skew = lambda *arguments: features(tmp_path, "skew", "delay", "--log", "log", *arguments, check=False)
    done = skew("--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["rows"], report["other_rows"]) == (40, 0)
    assert [(one["feature"], one["rows"], one["equal"], one["mismatch_rate"]) for one in report["features"]] == [("weather:temperature", 40, 40, 0.0), ("weather:sky", 40, 40, 0.0)]
    assert report["features"][0]["population_stability_index"] == 0.0

    # The past says something else for ten rows, and has lost one.
    changed = [row.replace(".5,", ".75,") if at < 10 else row for at, row in enumerate(rows) if at != 20]
    (tmp_path / "weather.csv").write_text("\n".join(["origin,observed,temperature,sky", *changed, ""]))
    done = skew("--json")
    assert done.returncode == 3, done.stderr
    warm, sky = json.loads(done.stdout)["features"]
    assert (warm["equal"], warm["differ"], warm["missing_offline"], warm["largest_difference"]) == (29, 10, 1, 0.25)
    assert (sky["equal"], sky["differ"], sky["missing_offline"]) == (39, 0, 1)
    assert skew("--threshold", "0.5").returncode == 0
    assert "40 rows of the log compared" in skew().stdout
    # A server that is killed leaves a line without an end.
    segment = sorted((tmp_path / "log").iterdir())[0]
    with open(segment, "a", encoding="utf-8") as file:
        file.write('{"time": "2013')
    assert "1 lines have no end and were left out" in skew().stdout
    segment.write_text("no log\n")
    assert "line `1`: expected a JSON object of a log of served features" in skew().stderr


def test_all_flights_are_joined_as_pandas_does(tmp_path):
    script = pathlib.Path(__file__).resolve().parents[2] / "benches/joins/flights.py"
    run = lambda *arguments: subprocess.run([os.sys.executable, script, arguments[0], tmp_path, *arguments[1:]], check=True, capture_output=True, text=True).stdout
    run("prepare")
    declared = (script.parent / "features.yaml").read_text()
    (tmp_path / "features.yaml").write_text(declared.replace("FORM", "parquet"))
    features(tmp_path, "join", "--features", "weather:*,planes:*", "--entities", "flights.parquet", "--out", "hanok.parquet")
    run("join", "parquet")
    told = json.loads(run("compare", "parquet"))
    assert told["rows"] == 336_776 and told["differ"] == 0 and told["filled"] > 4_000_000, told
    assert len(pd.read_parquet(tmp_path / "hanok.parquet").columns) == 34
