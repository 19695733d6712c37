"""Tables for point-in-time joins, and what pandas and Feast make of them.

tables.py write FOLDER   writes sources and entities
tables.py prepare FOLDER  writes them as Feast can have them
tables.py check FOLDER   compares joined tables with pandas' merge_asof, value by value
tables.py feast FOLDER   compares one with Feast's get_historical_features
"""

import datetime as dt
import pathlib
import random
import struct
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

START = dt.datetime(2013, 1, 1, 5, 0, 0, tzinfo=dt.timezone.utc)
ORIGINS = ("JFK", "EWR", "LGA", "인천", "a:b,\"c\"")
UTC = pa.timestamp("us", tz="UTC")
AGE = pd.Timedelta(hours=36)
FEATURES = {
    "temperature": pa.float64(),
    "humidity": pa.float32(),
    "visits": pa.int64(),
    "code": pa.int32(),
    "rainy": pa.bool_(),
    "sky": pa.string(),
    "raw": pa.binary(),
    "seen": UTC,
    "weights": pa.list_(pa.float32()),
    "words": pa.list_(pa.string()),
}


def value(generator, name):
    pick = generator.choice
    return {
        "temperature": lambda: pick([float("nan"), float("inf"), -0.0, 5e-324, generator.gauss(0, 1e6)]),
        "humidity": lambda: struct.unpack("<f", struct.pack("<f", generator.random()))[0],
        "visits": lambda: pick([-(2**63), 2**63 - 1, 0, generator.randrange(10**12)]),
        "code": lambda: pick([-(2**31), 2**31 - 1, generator.randrange(1000)]),
        "rainy": lambda: generator.random() < 0.5,
        "sky": lambda: pick(["", "clear", "맑음 ☀", "x" * 300, 'a "b", c\n']),
        "raw": lambda: generator.randbytes(5),
        "seen": lambda: START + dt.timedelta(microseconds=generator.randrange(10**14)),
        "weights": lambda: [0.5 * generator.randrange(9) for _ in range(generator.randrange(4))],
        "words": lambda: [pick(["", "b", "☀"]) for _ in range(generator.randrange(4))],
    }[name]()


def moment(generator):
    # Few different ones, so that many are equal: at once, and exactly as old as may be.
    return START + dt.timedelta(hours=generator.randrange(24 * 30))


def weather(generator, rows):
    columns = {
        "origin": pa.array([None if generator.random() < 0.02 else generator.choice(ORIGINS) for _ in range(rows)]),
        "station": pa.array([generator.randrange(3) for _ in range(rows)], pa.int64()),
        "event_timestamp": pa.array([None if generator.random() < 0.02 else moment(generator) for _ in range(rows)], UTC),
        "created": pa.array([None if generator.random() < 0.1 else moment(generator) for _ in range(rows)], pa.timestamp("ms", tz="UTC")),
    }
    for name, kind in FEATURES.items():
        columns[name] = pa.array([None if generator.random() < 0.15 else value(generator, name) for _ in range(rows)], kind)
    return pa.table(columns)


def write(folder):
    generator = random.Random(20130101)
    table = weather(generator, 4000)
    # Three files, one with small row groups and other codecs; all of one folder.
    (folder / "weather").mkdir()
    pq.write_table(table.slice(0, 1500), folder / "weather/0.parquet", compression="zstd", row_group_size=97)
    pq.write_table(table.slice(1500, 1500), folder / "weather/1.parquet", compression="gzip", data_page_version="2.0")
    pq.write_table(table.slice(3000), folder / "weather/2.parquet", use_dictionary=False, compression="none", version="1.0")
    scalar = [name for name in table.column_names if not name.startswith("w") and name != "raw"]
    flat = table.select([name for name in scalar]).to_pandas()
    flat["event_timestamp"] = flat.event_timestamp.map(lambda at: "" if pd.isna(at) else at.isoformat())
    flat["created"] = flat.created.map(lambda at: "" if pd.isna(at) else at.isoformat())
    # Whole numbers with nulls among them become floats in pandas, which do not hold the extremes: as text.
    for name in ("visits", "code"):
        flat[name] = ["" if one is None else str(one) for one in table.column(name).to_pylist()]
    flat.to_csv(folder / "weather.csv", index=False)
    rows = 3000
    entities = pa.table({
        "id": pa.array(range(rows), pa.int16()),
        "origin": pa.array([generator.choice((None, "QQQ") + ORIGINS) for _ in range(rows)]).dictionary_encode(),
        "station": pa.array([generator.randrange(4) for _ in range(rows)], pa.int32()),
        "nested": pa.array([[{"a": row, "b": [None, "x"]}] * (row % 3) for row in range(rows)]),
        "event_timestamp": pa.array([(moment(generator) - dt.timedelta(hours=generator.randrange(-48, 48))).replace(tzinfo=None) for _ in range(rows)], pa.timestamp("ns")),
        "amount": pa.array([None if row % 7 == 0 else row for row in range(rows)], pa.decimal128(12, 3)),
    })
    pq.write_table(entities, folder / "entities.parquet", row_group_size=700)
    plain = entities.select(["id", "origin", "station", "event_timestamp"])
    plain.set_column(1, "origin", plain.column("origin").cast(pa.string())).to_pandas().to_csv(folder / "entities.csv", index=False)
    pq.write_table(entities.slice(0, 0), folder / "nobody.parquet")
    pq.write_table(table.slice(0, 0), folder / "nothing.parquet")


def same(found, expected, where):
    found, expected = found.to_pylist(), expected.to_pylist()
    assert len(found) == len(expected), where
    for row, pair in enumerate(zip(found, expected)):
        assert repr(pair[0]) == repr(pair[1]), (where, row, pair)
    return sum(one is not None for one in expected)


def as_of(entities, table, tolerance):
    """For each row of entities the row of the table that pandas finds, or null."""
    left = entities.select(["origin", "station", "event_timestamp"]).to_pandas()
    left["station"] = left.station.astype("int64")
    left["origin"] = left.origin.astype("object")
    left["row"] = range(len(left))
    left["event_timestamp"] = left.event_timestamp.dt.tz_localize("UTC")
    right = table.select(["origin", "station", "event_timestamp", "created"]).to_pandas()
    right["found"] = range(len(right))
    right["event_timestamp"] = right.event_timestamp.astype("datetime64[ns, UTC]")
    right["created"] = right.created.fillna(pd.Timestamp.min.tz_localize("UTC") + pd.Timedelta(days=1))
    right = right.dropna(subset=["origin", "event_timestamp"]).sort_values(["event_timestamp", "created"], kind="stable")
    known = left.dropna(subset=["origin"]).sort_values("event_timestamp", kind="stable")
    joined = pd.merge_asof(known, right, on="event_timestamp", by=["origin", "station"], direction="backward", tolerance=tolerance)
    found = joined.set_index("row").found.reindex(range(len(left)))
    return pa.array([None if pd.isna(one) else int(one) for one in found], pa.int64())


def check(folder):
    entities = pq.read_table(folder / "entities.parquet")
    table = pa.concat_tables([pq.read_table(folder / f"weather/{part}.parquet") for part in range(3)])
    compared = 0
    for name, tolerance in (("out.parquet", AGE), ("ageless.parquet", None)):
        found = pq.read_table(folder / name)
        assert found.column_names == entities.column_names + list(FEATURES), found.column_names
        places = as_of(entities, table, tolerance)
        for column in entities.column_names:
            same(found.column(column), entities.column(column), (name, column))
        for column, kind in FEATURES.items():
            assert found.schema.field(column).type == kind or column in ("weights", "words"), found.schema.field(column)
            compared += same(found.column(column), table.column(column).take(places), (name, column))
    text = pd.read_csv(folder / "out.csv", dtype=str, keep_default_na=False)
    places = as_of(entities, table, AGE).to_pylist()
    given = pd.read_csv(folder / "entities.csv", dtype=str, keep_default_na=False)
    assert text[given.columns.tolist()].equals(given)
    for row, place in enumerate(places):
        for column in ("visits", "code", "temperature", "sky", "rainy"):
            expected = None if place is None else table.column(column)[place].as_py()
            cell = text[column][row]
            if expected is None or expected != expected:
                # pandas wrote NaN as nothing.
                assert cell == "", (row, column, cell)
            elif column == "temperature":
                assert repr(float(cell)) == repr(expected), (row, column, cell, expected)
            else:
                assert cell == {True: "true", False: "false"}.get(expected, str(expected)) if isinstance(expected, bool) else cell == str(expected), (row, column, cell, expected)
            compared += 1
    typed = pq.read_table(folder / "typed.parquet")
    assert [str(typed.schema.field(name).type) for name in ("id", "origin", "event_timestamp")] == ["int64", "string", "timestamp[us, tz=UTC]"], typed.schema
    same(typed.column("visits"), table.column("visits").take(pa.array(places, pa.int64())), "typed")
    nobody = pq.read_table(folder / "nobody-out.parquet")
    assert nobody.num_rows == 0 and nobody.num_columns == 16
    nothing = pq.read_table(folder / "nothing-out.parquet")
    assert nothing.num_rows == 3000 and nothing.column("sky").null_count == 3000
    print(compared)


def feast(folder):
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Bool, Float32, Float64, Int32, Int64, String

    repository = folder / "repository"
    repository.mkdir()
    (repository / "feature_store.yaml").write_text(
        f"project: flights\nprovider: local\nregistry: {repository}/registry.db\nonline_store: {{type: sqlite, path: {repository}/online.db}}\n"
        "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(repo_path=str(repository))
    kinds = {"temperature": Float64, "humidity": Float32, "visits": Int64, "code": Int32, "rainy": Bool, "sky": String}
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    station = Entity(name="station", join_keys=["station"], value_type=ValueType.INT64)
    source = FileSource(path=str(folder / "feast.parquet"), timestamp_field="event_timestamp", created_timestamp_column="created")
    view = FeatureView(
        name="weather", entities=[origin, station], ttl=AGE.to_pytimedelta(), source=source,
        schema=[Field(name=name, dtype=kind) for name, kind in (kinds | {"origin": String, "station": Int64}).items()],
    )
    store.apply([origin, station, view])
    found = pq.read_table(folder / "feast-out.parquet").to_pandas()
    entities = pq.read_table(folder / "feast-entities.parquet").to_pandas()
    answer = store.get_historical_features(entity_df=entities, features=[f"weather:{name}" for name in kinds]).to_df()
    answer = answer.set_index("id").sort_index()
    found = found.set_index("id").sort_index()
    # Of entities with one key and time Feast answers one, and none of those that have rows only later.
    asked = entities.set_index("id")
    answered = set(asked.loc[answer.index].itertuples(index=False, name=None))
    for row in asked.index.difference(answer.index):
        twin = tuple(asked.loc[row]) in answered
        assert twin or found.loc[row, list(kinds)].isna().all(), row
    assert len(answer) > 2000
    compared = 0
    for name in kinds:
        for row in answer.index:
            ours, theirs = found[name][row], answer[name][row]
            if pd.isna(ours) or pd.isna(theirs):
                # NaN and null are one in pandas.
                assert pd.isna(ours) and pd.isna(theirs), (name, row, ours, theirs)
            elif name == "visits":
                # Feast has them as floats, because there are nulls.
                assert float(ours) == float(theirs), (name, row, ours, theirs)
            else:
                assert ours == theirs, (name, row, ours, theirs)
                compared += 1
    print(compared)


def prepare(folder):
    """A source and entities that Feast can have."""
    table = pa.concat_tables([pq.read_table(folder / f"weather/{part}.parquet") for part in range(3)])
    # Feast cannot have null times and keys.
    keep = [row for row, (origin, at, created) in enumerate(zip(table.column("origin").to_pylist(), table.column("event_timestamp").to_pylist(), table.column("created").to_pylist())) if origin and at and created]
    # Of rows of one key and time Feast promises the one created last; its file store sorts unstably and takes any.
    seen, single = set(), []
    for row in keep:
        key = tuple(table.column(name)[row].as_py() for name in ("origin", "station", "event_timestamp"))
        if key not in seen:
            seen.add(key)
            single.append(row)
    pq.write_table(table.take(pa.array(single)), folder / "feast.parquet")
    entities = pq.read_table(folder / "entities.parquet").select(["id", "origin", "station", "event_timestamp"]).to_pandas()
    entities = entities.dropna(subset=["origin"])
    entities["origin"] = entities.origin.astype("object")
    entities["station"] = entities.station.astype("int64")
    entities["event_timestamp"] = entities.event_timestamp.dt.tz_localize("UTC")
    entities.to_parquet(folder / "feast-entities.parquet", index=False)


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "write":
        write(place)
    elif sys.argv[1] == "prepare":
        prepare(place)
    elif sys.argv[1] == "check":
        check(place)
    else:
        feast(place)
