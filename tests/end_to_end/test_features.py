"""`hanok features`: declarations are checked, rows are written and looked up, from the command line."""

import json
import subprocess

import pytest

from harness import binary

DECLARED = """\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: local}
spec: {embedded: {path: features.db}}
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec:
  entities: [origin]
  store: local
  owner: flights
  features:
    - {name: temperature, type: float32, fallback: missing}
    - {name: wind_speed, type: float32, default: 10.5}
    - {name: sky, type: string, default: unknown}
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: flight_delay}
spec:
  owner: flights
  features: [weather:temperature, {feature: weather:wind_speed, as: wind}, weather:sky]
"""


@pytest.fixture
def declared(tmp_path):
    file = tmp_path / "features.yaml"
    file.write_text(DECLARED)
    return file


def features(*arguments, given=None):
    command = [str(binary()), "features", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def put(declared, *rows):
    done = features("put", "-f", declared, "weather", "-", given="\n".join(map(json.dumps, rows)))
    assert done.returncode == 0, done.stderr


def rows(declared, *asked):
    done = features("get", "-f", declared, "flight_delay", *map(json.dumps, asked))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_rows_that_were_put_are_looked_up(declared, tmp_path):
    table = tmp_path / "weather.csv"
    table.write_text("origin,temperature,wind_speed,sky,event_time\nJFK,39.5,,clear,2013-01-01T05:00:00Z\nEWR,nan,3,\"a, b\",10\n")
    done = features("put", "-f", declared, "weather", table)
    assert (done.returncode, done.stdout) == (0, "2 rows written, 0 left out because a newer one is there\n"), done.stderr
    older = {"origin": "JFK", "temperature": 1, "event_time": 11}
    done = features("put", "-f", declared, "weather", "-", given=json.dumps(older))
    assert done.stdout == "0 rows written, 1 left out because a newer one is there\n"

    jfk, ewr, lga = rows(declared, {"origin": "JFK"}, {"origin": "EWR", "sky": "fog"}, {"origin": "LGA"})
    assert (jfk["temperature"]["value"], jfk["temperature"]["from"]) == (39.5, "store")
    assert (jfk["wind"]["value"], jfk["wind"]["from"]) == (10.5, "default")
    assert jfk["sky"]["age_seconds"] > 10 * 365 * 86400
    assert (ewr["temperature"]["value"], ewr["temperature"]["from"]) == ("nan", "store")
    assert (ewr["sky"]["value"], ewr["sky"]["from"]) == ("fog", "override")
    assert (lga["temperature"]["value"], lga["temperature"]["from"]) == (None, "missing")


def test_declarations_are_checked_with_lines(declared):
    done = features("validate", declared)
    assert done.stdout == "valid: 1 entities, 1 stores, 1 views, 1 services\n", done.stderr
    declared.write_text(DECLARED.replace("type: string, default: unknown", "type: strng").replace("[origin]", "[orgin]"))
    done = features("validate", declared)
    assert done.returncode == 1
    assert "the declarations have `2` faults (invalid_argument)\n" in done.stderr
    assert f"{declared}:15: FeatureView/weather: spec.entities[0]: expected the name of an `Entity`" in done.stderr
    assert f"{declared}:21: FeatureView/weather: spec.features[2].type: expected one of" in done.stderr
    assert "did you mean `string`?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["get", "-f", "FILE", "flight_dely", "{}"], "feature service `flight_dely` does not exist; did you mean `flight_delay`?", "not_found"),
        (["get", "-f", "FILE", "flight_delay", '{"orign": "JFK"}'], "key or input `orign` does not exist; did you mean `origin`?", "not_found"),
        (["get", "-f", "FILE", "flight_delay", '{"origin": 7}'], "key `origin`, row `0`: expected `string`, got `7`", "invalid_argument"),
        (["get", "-f", "FILE", "flight_delay", "JFK"], "expected rows as JSON objects", "invalid_argument"),
        (["put", "-f", "FILE", "wether", "-"], "feature view `wether` does not exist; did you mean `weather`?", "not_found"),
        (["put", "-f", "FILE", "weather", "rows.parquet"], "expected a file `.csv` or `.jsonl`", "invalid_argument"),
        (["get", "-f", "FILE", "flight_delay", '{"origin": "JFK", "origin": "EWR"}'], "`origin` comes twice", "invalid_argument"),
        (["get", "-f", "gone.yaml", "flight_delay", "{}"], "`gone.yaml` cannot be read", "not_found"),
        (["put", "-f", "FILE", "weather", "gone.csv"], "`gone.csv` cannot be read", "not_found"),
        (["validate", "gone.yaml"], "`gone.yaml` cannot be read", "not_found"),
    ],
)
def test_mistakes_are_told(declared, arguments, told, code):
    put(declared, {"origin": "JFK", "sky": "clear"})
    done = features(*[declared if one == "FILE" else one for one in arguments], given="")
    assert done.returncode == 1
    assert told in done.stderr and done.stderr.endswith(f" ({code})\n"), done.stderr


def test_what_to_do_is_told(declared):
    put(declared, {"origin": "JFK"})
    declared.write_text(DECLARED.replace(", fallback: missing", ""))
    done = features("get", "-f", declared, "flight_delay", '{"origin": "JFK"}')
    assert "the stored value is null; write it with `hanok features put`, or declare a `default`" in done.stderr
    assert done.stderr.endswith(" (not_found)\n"), done.stderr
    done = features("put", "-f", declared, "weather", "-", given='{"origin": "JFK", "origin": "EWR"}')
    assert "line `1`: expected a JSON object: `origin` comes twice" in done.stderr, done.stderr


def test_a_line_that_is_wrong_is_named_and_nothing_is_written(declared):
    put(declared, {"origin": "LGA", "sky": "clear"})
    lines = [json.dumps({"origin": "JFK"}), json.dumps({"origin": "EWR", "temperature": "warm"})]
    done = features("put", "-f", declared, "weather", "-", given="\n".join(lines))
    assert done.returncode == 1
    assert "line `2`, column `temperature`: expected a value of type `float32`" in done.stderr
    assert rows(declared, {"origin": "JFK"})[0]["sky"]["from"] == "default"
