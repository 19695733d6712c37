"""Materialises features with Feast into Redis and SQLite, and writes down what Feast itself answers.

feast_project.py FOLDER REDIS_PORT: makes FOLDER/redis and FOLDER/sqlite (two projects of one name) and
FOLDER/answers.json. Every type that Hanok reads is there, with nulls, NaN, infinities, extremes, empty and odd texts.
"""

import datetime as dt
import json
import math
import pathlib
import random
import struct
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

ROWS = 300
START = dt.datetime(2013, 1, 1, 5, 0, 0, tzinfo=dt.timezone.utc)

SCALARS = {
    "temperature": (Float64, pa.float64()),
    "humidity": (Float32, pa.float32()),
    "visits": (Int64, pa.int64()),
    "code": (Int32, pa.int32()),
    "rainy": (Bool, pa.bool_()),
    "sky": (String, pa.string()),
    "raw": (Bytes, pa.binary()),
    "seen": (UnixTimestamp, pa.timestamp("us", tz="UTC")),
}
LISTS = {
    "temperatures": (Array(Float64), pa.list_(pa.float64())),
    "weights": (Array(Float32), pa.list_(pa.float32())),
    "counts": (Array(Int64), pa.list_(pa.int64())),
    "codes": (Array(Int32), pa.list_(pa.int32())),
    "flags": (Array(Bool), pa.list_(pa.bool_())),
    "words": (Array(String), pa.list_(pa.string())),
    "blobs": (Array(Bytes), pa.list_(pa.binary())),
    "times": (Array(UnixTimestamp), pa.list_(pa.timestamp("us", tz="UTC"))),
}


def single(generator, name):
    """One value of a column, often an odd one."""
    pick = generator.choice
    second = START + dt.timedelta(seconds=generator.randrange(10**8))
    return {
        "temperature": lambda: pick([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, generator.gauss(0, 1e6)]),
        "humidity": lambda: pick([math.nan, math.inf, -0.0, 1e-45, 3.4028235e38, generator.random()]),
        "visits": lambda: pick([-(2**63) + 1, 2**63 - 1, 0, generator.randrange(-(10**12), 10**12)]),
        "code": lambda: pick([-(2**31), 2**31 - 1, 0, generator.randrange(-1000, 1000)]),
        "rainy": lambda: generator.random() < 0.5,
        "sky": lambda: pick(["", "clear", "a:b/c\n", "맑음 ☀", "x" * 300, "\0"]),
        "raw": lambda: pick([b"", b"\x00\xff\xfe", generator.randbytes(9)]),
        "seen": lambda: second,
    }[name]()


ELEMENTS = dict(zip(LISTS, SCALARS))


def column(generator, name, rows):
    if name == "visits":
        # Feast turns whole numbers with nulls among them into floats, which do not hold the extremes.
        return [single(generator, name) for _ in range(rows)]
    if name in SCALARS:
        return [None if generator.random() < 0.15 else single(generator, name) for _ in range(rows)]
    several = lambda: [single(generator, ELEMENTS[name]) for _ in range(generator.randrange(0, 4))]
    return [None if generator.random() < 0.15 else several() for _ in range(rows)]


def write(path, arrays):
    pq.write_table(pa.table(arrays), path)


def sources(folder):
    generator = random.Random(7)
    times = [START + dt.timedelta(microseconds=generator.randrange(10**12)) for _ in range(ROWS)]
    stamps = pa.array(times, pa.timestamp("us", tz="UTC"))
    arrays = {
        "origin": pa.array([("JFK", "EWR", "LGA", "인천", "a:b")[row % 5] for row in range(ROWS)]),
        "hour": pa.array([row // 5 - 20 for row in range(ROWS)], pa.int64()),
        "event_timestamp": stamps,
    }
    for name, (_, kind) in (SCALARS | LISTS).items():
        arrays[name] = pa.array(column(generator, name, ROWS), kind)
    write(folder / "weather.parquet", arrays)
    tails = [f"N{row}" for row in range(40)]
    write(folder / "planes.parquet", {
        "tailnum": pa.array(tails),
        "event_timestamp": stamps.slice(0, 40),
        "seats": pa.array([None if row % 7 == 0 else row for row in range(40)], pa.int64()),
        "model": pa.array([f"A{row}" for row in range(40)]),
    })
    # The same entity as the planes, fewer rows: hashes of Redis that lack this view.
    write(folder / "repairs.parquet", {
        "tailnum": pa.array(tails[:10]),
        "event_timestamp": stamps.slice(40, 10),
        "days": pa.array(range(10), pa.int32()),
    })


def project(folder, data, online_store):
    folder.mkdir()
    text = f"""project: flights
provider: local
registry: {folder}/registry.db
online_store: {json.dumps(online_store)}
offline_store: {{type: file}}
entity_key_serialization_version: 3
"""
    (folder / "feature_store.yaml").write_text(text)
    store = FeatureStore(repo_path=str(folder))
    origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING)
    hour = Entity(name="hour", join_keys=["hour"], value_type=ValueType.INT64)
    plane = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING)

    def view(name, entities, fields):
        source = FileSource(path=f"{data}/{name}.parquet", timestamp_field="event_timestamp")
        schema = [Field(name=field, dtype=kind) for field, kind in fields.items()]
        return FeatureView(name=name, entities=entities, ttl=dt.timedelta(0), schema=schema, source=source, online=True)

    weather = {name: kind for name, (kind, _) in (SCALARS | LISTS).items()}
    views = [
        view("weather", [origin, hour], weather | {"origin": String, "hour": Int64}),
        view("planes", [plane], {"seats": Int64, "model": String, "tailnum": String}),
        view("repairs", [plane], {"days": Int32, "tailnum": String}),
    ]
    store.apply([origin, hour, plane, *views])
    store.materialize(START - dt.timedelta(days=1), START + dt.timedelta(days=400))
    return store


def packed(kind, value):
    """A value in a form that is compared as text: floats by their bits."""
    if kind in ("double_val", "float_val"):
        return struct.pack("<d" if kind == "double_val" else "<f", value).hex()
    if kind == "bytes_val":
        return value.hex()
    return str(value).lower() if kind == "bool_val" else str(value)


def told(value):
    kind = value.WhichOneof("val")
    if kind in (None, "null_val"):
        return None
    content = getattr(value, kind)
    if kind.endswith("_list_val"):
        return [packed(kind.replace("_list", ""), one) for one in content.val]
    return packed(kind, content)


def ask(store, features, entities):
    answer = store.get_online_features(features=features, entity_rows=entities, full_feature_names=True).proto
    columns = {}
    for name, result in zip(answer.metadata.feature_names.val, answer.results):
        view, _, feature = name.partition("__")
        if feature:
            columns[f"{view}:{feature}"] = [
                [told(value), status, stamp.seconds * 1_000_000 + stamp.nanos // 1000]
                for value, status, stamp in zip(result.values, result.statuses, result.event_timestamps)
            ]
    return columns


def main(folder, port):
    data = folder / "data"
    data.mkdir()
    sources(data)
    stores = {
        "redis": project(folder / "redis", data, {"type": "redis", "connection_string": f"127.0.0.1:{port}"}),
        "sqlite": project(folder / "sqlite", data, {"type": "sqlite", "path": f"{folder}/sqlite/online.db"}),
    }
    weather = pd.read_parquet(data / "weather.parquet", columns=["origin", "hour"])
    keys = [{"origin": str(row.origin), "hour": int(row.hour)} for row in weather.itertuples()]
    keys += [{"origin": "QQQ", "hour": 1}, {"origin": "JFK", "hour": 10**9}, keys[0]]
    planes = [{"tailnum": f"N{row}"} for row in range(45)]
    names = [f"weather:{name}" for name in SCALARS | LISTS]
    answers = {
        name: {
            "weather": ask(store, names, keys),
            "planes": ask(store, ["planes:seats", "planes:model", "repairs:days"], planes),
        }
        for name, store in stores.items()
    }
    document = {"weather": keys, "planes": planes, "answers": answers}
    (folder / "answers.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
