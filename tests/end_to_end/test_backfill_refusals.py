"""What `hanok features backfill` refuses, before it touches a day."""

import pyarrow.parquet as pq
from test_offline_features import PARQUET, days, declare_ageless, features, many_rows


def test_backfills_refuse_what_does_not_fit(tmp_path):
    declare_ageless(tmp_path, source=PARQUET, offline="past")
    many_rows(tmp_path)
    backfill = lambda *arguments: features(tmp_path, "backfill", "weather", *arguments, check=False).stderr
    assert "expected whole days in UTC, got `2013-01-01T05:00:00Z`" in backfill("--from", "2013-01-01T05:00:00Z", "--to", "2013-01-02")
    assert "expected a beginning before the end" in backfill("--from", "2013-01-03", "--to", "2013-01-02")
    source = pq.read_table(tmp_path / "weather.parquet").to_pandas()
    source["sky"] = source.sky.where(source.index % 4 > 0)
    source.to_parquet(tmp_path / "weather.parquet", index=False)
    period = ("--from", "2013-01-01", "--to", "2013-01-04")
    assert "feature `weather:sky`: expected at most `0.2` of its values to be null, got `0.250` of `60000`" in backfill(*period, "--maximum-null-rate", "0.2")
    assert not (tmp_path / "past").exists(), "nothing was touched"
    # The bound is one of the whole period, whatever is there already.
    told = "feature `weather:sky`: expected at most `0.2` of its values to be null, got `0.250` of `60000`"
    assert features(tmp_path, "backfill", "weather", "--from", "2013-01-01", "--to", "2013-01-03").returncode == 0
    assert told in backfill(*period, "--maximum-null-rate", "0.2")
    assert len(days(tmp_path)) == 2, "nothing was touched"
    features(tmp_path, "backfill", "weather", *period)
    assert told in backfill(*period, "--maximum-null-rate", "0.2")
    assert backfill(*period, "--maximum-null-rate", "0.25") == ""
    for path in (tmp_path / "past").rglob("*.parquet"):
        path.unlink()
    (tmp_path / "past").rename(tmp_path / "before")
    source["temperature"] = source.temperature.astype(str)
    source.to_parquet(tmp_path / "weather.parquet", index=False)
    assert "column `temperature`, row `1`: expected a column that can be `float32`, got text" in backfill(*period)
    declare_ageless(tmp_path, source="{path: past, event_time: event_timestamp}", offline="past")
    (tmp_path / "past").mkdir()
    many_rows(tmp_path)
    (tmp_path / "weather.parquet").rename(tmp_path / "past/x.parquet")
    assert "expected a source outside of the offline folder" in backfill(*period)
