"""Where `hanok features` reads and writes: what is no regular file, no place for one, or the file that is read."""

import json
import os

import pytest
from test_offline_features import ASKED, ROWS, declare_ageless, features, place  # noqa: F401

ENTITIES = "origin,event_timestamp\nJFK,1357016400\n"
ROW = json.dumps({"origin": "JFK", "temp": 1.0, "observed": 1357016400})


@pytest.fixture
def asked(place):
    (place / "entities.csv").write_text(ENTITIES)
    return place


def join(place, entities="entities.csv", out="out.csv"):
    return features(place, "join", "--features", "weather:*", "--entities", entities, "--out", out, check=False)


def refused(done, *told, code="invalid_argument"):
    assert done.returncode == 1, done.stdout
    for text in told:
        assert text in done.stderr, done.stderr
    assert done.stderr.endswith(f" ({code})\n"), done.stderr


def test_pipes_folders_and_devices_are_no_tables(asked):
    for kind in ("csv", "jsonl"):
        os.mkfifo(asked / f"pipe.{kind}")
    (asked / "folder.csv").mkdir()
    refused(join(asked, "pipe.csv"), "expected a regular file, got a pipe")
    refused(join(asked, "folder.csv"), "expected a regular file, got a folder")
    (asked / "zero.csv").symlink_to("/dev/zero")
    refused(join(asked, "zero.csv"), "expected a regular file, got a device")
    for file in ("pipe.csv", "pipe.jsonl", "folder.csv", "zero.csv"):
        refused(features(asked, "put", "weather", file, check=False), "cannot be read: it is no regular file")
    for file, told in (("pipe.csv", "got a pipe"), ("zero.csv", "got a device")):
        declare_ageless(asked, source=f"{{path: {file}, event_time: observed}}")
        refused(join(asked), told)
        refused(features(asked, "materialize", check=False), told)
    declare_ageless(asked, store="{embedded: {path: pipe.csv}}")
    (asked / "rows.jsonl").write_text(ROW)
    for command in (("get", "delay", '{"origin": "JFK"}'), ("materialize",), ("put", "weather", "rows.jsonl")):
        refused(features(asked, *command, check=False), "it is no regular file", code="unavailable")


def test_the_entities_are_not_written_over(asked):
    (asked / "entities.csv").write_text(ASKED)
    (asked / "here").symlink_to(".")
    (asked / "soft.csv").symlink_to("entities.csv")
    (asked / "hard.csv").hardlink_to(asked / "entities.csv")
    for name in ("entities.csv", "./entities.csv", "here/entities.csv", "soft.csv", "hard.csv", str(asked / "entities.csv"), f"../{asked.name}/entities.csv"):
        refused(join(asked, out=name), "out: expected another file than that of the entities", "give another name")
        refused(join(asked, entities=name, out="entities.csv"), "out: expected another file than that of the entities")
    refused(join(asked, out="weather.csv"), "out: expected another file than those of view `weather`")
    assert (asked / "entities.csv").read_text() == ASKED and (asked / "weather.csv").read_text() == ROWS
    assert join(asked, out="here/other.csv").returncode == 0


@pytest.mark.parametrize(
    ("out", "told", "code"),
    [
        ("away/deep/out.csv", "away/deep` does not exist; make it, or give another place", "not_found"),
        ("folder.csv", "expected a place for a file, got a folder", "invalid_argument"),
        ("pipe.csv", "expected a place for a file, got a pipe", "invalid_argument"),
        ("http://host/out.csv", "expected a path on this machine, `s3://BUCKET/PATH`", "invalid_argument"),
        ("s4://bucket/out.parquet", "expected a path on this machine, `s3://BUCKET/PATH`", "invalid_argument"),
        ("file:///tmp/out.csv", "expected a path on this machine", "invalid_argument"),
        ("weather.csv/out.csv", "weather.csv` does not exist; make it", "not_found"),
        ("out.txt", "expected a file `.csv` or `.parquet`", "invalid_argument"),
        ("s3://bucket", "expected a file `.csv` or `.parquet`", "invalid_argument"),
    ],
)
def test_places_where_nothing_can_be_written(asked, out, told, code):
    (asked / "folder.csv").mkdir()
    os.mkfifo(asked / "pipe.csv")
    before = sorted(path.name for path in asked.rglob("*"))
    refused(join(asked, out=out), told, code=code)
    assert sorted(path.name for path in asked.rglob("*")) == before, "nothing is left"


def test_what_is_read_has_a_known_scheme_too(asked):
    refused(join(asked, entities="ftp://host/entities.csv"), "expected a path on this machine, `s3://BUCKET/PATH`")


def test_every_mistake_has_a_code(asked):
    for arguments in (
        ("backfill", "weather", "--from", "2013-01-01", "--to", "2013-01-02", "--maximum-null-rate", "2"),
        ("backfill", "weather", "--from", "soon", "--to", "2013-01-02"),
        ("materialize", "--to", "soon"),
        ("skew", "delay", "--log", "entities.csv", "--threshold", "7"),
        ("skew", "delay", "--log", "weather.csv/x"),
    ):
        refused(features(asked, *arguments, check=False))
    refused(features(asked, "skew", "delay", "--log", "away", check=False), code="not_found")
    (asked / "empty").mkdir()
    refused(features(asked, "skew", "delay", "--log", "empty", check=False), code="not_found")
    declare_ageless(asked, source="{event_time: observed}")
    refused(features(asked, "materialize", check=False))
