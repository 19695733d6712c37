"""`hanok features materialize` goes on where the store is, whatever clocks said and whatever became of the store."""

import json
import socket
import sqlite3

import pytest
from test_offline_features import ROWS, declare_ageless, features, place, redis, served  # noqa: F401

LATER = "JFK,2013-01-02T06:00:00Z,9,50.0,later\n"
WHOLE = "weather: 2 rows written, 0 left out"


@pytest.fixture
def filled(place):
    declare_ageless(place)
    return place


def materialize(place, *arguments, check=True):
    return features(place, "materialize", *arguments, check=check)


def test_an_end_in_the_future_is_now(filled):
    rows = ROWS + "JFK,2199-01-01T00:00:00Z,9,99.0,prophecy\n"
    (filled / "weather.csv").write_text(rows)
    done = materialize(filled, "--to", "2199-06-01")
    assert "`--to 2199-06-01` is in the future; rows until now are written" in done.stderr
    assert WHOLE in done.stdout
    assert served(filled, "JFK")[0]["sky"]["value"] == "second", "no row from the future stands above those of today"
    (filled / "weather.csv").write_text(rows + LATER)
    assert "weather: 1 rows written" in materialize(filled).stdout
    assert served(filled, "JFK")[0]["sky"]["value"] == "later"
    done = materialize(filled, "--from", "2199-01-01", check=False)
    assert done.returncode == 1 and "expected a beginning before the end" in done.stderr and "(invalid_argument)" in done.stderr


def test_a_mark_in_the_future_is_told_and_not_believed(filled):
    materialize(filled)
    with sqlite3.connect(filled / "features.db") as store:
        store.execute("UPDATE marks SET until = 4102444800000000000")
    (filled / "weather.csv").write_text(ROWS + LATER)
    done = materialize(filled)
    assert "store `main` says that it was materialised until 2100-01-01T00:00:00Z, which is in the future" in done.stderr
    assert "see that the clock is right" in done.stderr and "it begins with the first row; `--from 2100" in done.stderr
    assert WHOLE in done.stdout
    assert served(filled, "JFK")[0]["sky"]["value"] == "later"
    done = materialize(filled)
    assert done.stderr == "" and "weather: 0 rows written" in done.stdout


def test_a_store_that_is_gone_is_filled_anew(filled):
    materialize(filled)
    for left in filled.glob("features.db*"):
        left.unlink()
    done = materialize(filled)
    assert "weather: was materialised until 2013-01-01T06:00:00.000000001Z, but store `main` does not know of it: it was emptied or replaced since" in done.stderr
    assert WHOLE in done.stdout
    assert served(filled, "JFK")[0]["sky"]["value"] == "second"
    assert materialize(filled).stderr == ""
    # Another store in its place, which has rows of its own, and one that somebody emptied.
    for left in filled.glob("features.db*"):
        left.unlink()
    (filled / "one.jsonl").write_text(json.dumps({"origin": "LGA", "sky": "own"}) + "\n")
    features(filled, "put", "weather", "one.jsonl")
    done = materialize(filled)
    assert "emptied or replaced" in done.stderr and WHOLE in done.stdout
    with sqlite3.connect(filled / "features.db") as store:
        store.execute("DELETE FROM rows")
    done = materialize(filled)
    assert "emptied or replaced" in done.stderr and WHOLE in done.stdout


def test_what_is_lost_and_begun_elsewhere_is_told_with_its_remedy(filled):
    materialize(filled)
    for left in filled.glob("features.db*"):
        left.unlink()
    done = materialize(filled, "--from", "2013-01-01T05:30:00Z")
    assert "rows before `--from` are not looked at; `--again` begins with the first row" in done.stderr
    assert "weather: 1 rows written" in done.stdout
    done = materialize(filled, "--again")
    assert done.stderr == "" and WHOLE in done.stdout
    done = materialize(filled, "--again", "--from", "2013-01-01", check=False)
    assert done.returncode == 2


def test_a_copy_that_is_brought_back_goes_on_where_it_ended(filled):
    materialize(filled)
    with sqlite3.connect(filled / "features.db") as store, sqlite3.connect(filled / "copy.db") as copy:
        store.backup(copy)
    (filled / "weather.csv").write_text(ROWS + LATER)
    assert "weather: 1 rows written" in materialize(filled).stdout
    for left in filled.glob("features.db*"):
        left.unlink()
    (filled / "copy.db").rename(filled / "features.db")
    assert served(filled, "JFK")[0]["sky"]["value"] == "second"
    done = materialize(filled)
    assert done.stderr == "" and "weather: 1 rows written" in done.stdout
    assert served(filled, "JFK")[0]["sky"]["value"] == "later"


def test_what_cannot_be_noted_is_told_and_counts(filled):
    (filled / ".hanok").write_text("no folder")
    done = materialize(filled)
    assert WHOLE in done.stdout and "its rows are written; but if the store is emptied" in done.stderr
    done = materialize(filled)
    assert "weather: 0 rows written" in done.stdout, "the store knows"
    assert "whether its store was emptied since the last run is not known" in done.stderr
    (filled / ".hanok").unlink()
    (filled / ".hanok/materialized").mkdir(parents=True)
    (filled / ".hanok/materialized/weather.main.json").write_text('{"until": "soon"}')
    assert "is damaged, or was not written to its end: expected `until` with an instant" in materialize(filled).stderr
    assert materialize(filled).stderr == "", "it was written anew"


def test_a_failure_makes_no_store(filled):
    (filled / "weather.csv").unlink()
    assert materialize(filled, check=False).returncode == 1
    assert not (filled / "features.db").exists()


def test_redis_that_was_flushed_is_filled_anew(filled, redis):
    store = f'{{redis_hash: {{url: "redis://127.0.0.1:{redis}", key: "weather:{{origin}}", event_time: at}}}}'
    declare_ageless(filled, store=store)
    assert WHOLE in materialize(filled).stdout
    done = materialize(filled)
    assert done.stderr == "" and "weather: 0 rows written" in done.stdout
    with socket.create_connection(("127.0.0.1", redis)) as line:
        line.sendall(b"TYPE weather:{origin}:materialised:weather\r\nFLUSHALL\r\n")
        answer = b""
        while b"+OK" not in answer:
            answer += line.recv(100)
    assert answer.startswith(b"+hash")
    done = materialize(filled)
    assert "emptied or replaced" in done.stderr and WHOLE in done.stdout
    assert served(filled, "JFK")[0]["sky"]["value"] == "second"
