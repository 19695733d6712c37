//! The flags of `hanok serve` that are about traces of requests, in Triton's spellings, its old ones included.

use std::path::PathBuf;

use clap::Args;
use hanok_telemetry::{TraceLevel, TraceSettings};

/// One value of `--trace-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TraceConfig {
    Level(TraceLevel),
    Rate(u32),
    Count(i32),
    /// The one mode that there is.
    Mode,
    File(PathBuf),
    LogFrequency(u32),
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Traces")]
pub(crate) struct TraceFlags {
    /// `level=TIMESTAMPS`, `rate=COUNT` (one request in so many, 1000), `count=COUNT`, `triton,file=PATH`,
    /// `triton,log-frequency=COUNT`; may be given several times; see docs/tracing.md
    #[arg(long = "trace-config", value_name = "[MODE,]KEY=VALUE", value_parser = trace_config)]
    config: Vec<TraceConfig>,
    #[arg(long = "trace-file", hide = true, value_name = "PATH")]
    file: Option<PathBuf>,
    #[arg(long = "trace-level", hide = true, value_name = "LEVEL", value_parser = level)]
    level: Vec<TraceLevel>,
    #[arg(long = "trace-rate", hide = true, value_name = "COUNT", value_parser = rate)]
    rate: Option<u32>,
    #[arg(long = "trace-count", hide = true, value_name = "COUNT", value_parser = count, allow_negative_numbers = true)]
    count: Option<i32>,
    #[arg(long = "trace-log-frequency", hide = true, value_name = "COUNT", value_parser = log_frequency)]
    log_frequency: Option<u32>,
}

impl TraceFlags {
    /// The settings that the server starts with. Of values that are given twice the last one holds, and those of
    /// `--trace-config` before those of the old flags; a level OFF holds wherever it stands.
    pub(crate) fn settings(&self) -> TraceSettings {
        let defaults = TraceSettings::default();
        let mut levels = self.level.clone();
        let mut settings = TraceSettings {
            level: defaults.level,
            rate: self.rate.unwrap_or(defaults.rate),
            count: self.count.unwrap_or(defaults.count),
            log_frequency: self.log_frequency.unwrap_or(defaults.log_frequency),
        };
        for config in &self.config {
            match config {
                TraceConfig::Level(level) => levels.push(*level),
                TraceConfig::Rate(rate) => settings.rate = *rate,
                TraceConfig::Count(count) => settings.count = *count,
                TraceConfig::LogFrequency(frequency) => settings.log_frequency = *frequency,
                TraceConfig::Mode | TraceConfig::File(_) => {}
            }
        }
        if !levels.is_empty() && !levels.contains(&TraceLevel::Off) {
            settings.level = TraceLevel::Timestamps;
        }
        settings
    }

    /// Where traces go.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let named = self.config.iter().rev().find_map(|config| match config {
            TraceConfig::File(path) => Some(path),
            _ => None,
        });
        named.or(self.file.as_ref()).cloned()
    }

    /// Old flags that were given, and what to use instead.
    pub(crate) fn old(&self) -> Vec<(&'static str, &'static str)> {
        let old = [
            ("trace-file", "triton,file", self.file.is_some()),
            ("trace-level", "level", !self.level.is_empty()),
            ("trace-rate", "rate", self.rate.is_some()),
            ("trace-count", "count", self.count.is_some()),
            ("trace-log-frequency", "triton,log-frequency", self.log_frequency.is_some()),
        ];
        old.into_iter().filter(|(.., given)| *given).map(|(name, instead, _)| (name, instead)).collect()
    }
}

/// Reads `KEY=VALUE` or `MODE,KEY=VALUE`.
fn trace_config(text: &str) -> Result<TraceConfig, String> {
    let wrong = || format!("expected `KEY=VALUE` or `triton,KEY=VALUE`, got `{text}`");
    let (setting, value) = text.split_once('=').ok_or_else(wrong)?;
    let (mode, key) = setting.split_once(',').unwrap_or(("", setting));
    if setting.starts_with(',') || key.is_empty() || value.is_empty() {
        return Err(wrong());
    }
    match (mode.to_ascii_lowercase().as_str(), key) {
        ("", "level") => level(value).map(TraceConfig::Level),
        ("", "rate") => rate(value).map(TraceConfig::Rate),
        ("", "count") => count(value).map(TraceConfig::Count),
        ("", "mode") => mode_of(value).map(|()| TraceConfig::Mode),
        ("triton", "file") => Ok(TraceConfig::File(value.into())),
        ("triton", "log-frequency") => log_frequency(value).map(TraceConfig::LogFrequency),
        ("", _) => Err(format!("expected one of `level`, `rate`, `count`, `mode`, got `{key}`")),
        ("triton", _) => Err(format!("expected `triton,file` or `triton,log-frequency`, got `triton,{key}`")),
        (mode, _) => mode_of(mode).and(Err(wrong())),
    }
}

fn mode_of(text: &str) -> Result<(), String> {
    match text.to_ascii_lowercase().as_str() {
        "triton" => Ok(()),
        "opentelemetry" => Err("mode `opentelemetry` is not offered yet: write the traces to a file with \
             `triton,file=PATH`, and have what reads files send them on"
            .to_owned()),
        _ => Err(format!("expected the mode `triton`, got `{text}`")),
    }
}

fn level(text: &str) -> Result<TraceLevel, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" | "false" => Ok(TraceLevel::Off),
        "timestamps" | "true" | "on" | "min" | "max" => Ok(TraceLevel::Timestamps),
        "tensors" => Err("level `TENSORS` is not offered yet; use `TIMESTAMPS`".to_owned()),
        _ => Err(format!("expected the level `OFF` or `TIMESTAMPS`, got `{text}`")),
    }
}

fn rate(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(rate) if rate > 0 => Ok(rate),
        _ => Err(format!("expected one request in 1 to {}, got `{text}`", u32::MAX)),
    }
}

fn count(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(count) if count >= -1 => Ok(count),
        _ => Err(format!("expected a number of traces up to {}, or -1 for no end, got `{text}`", i32::MAX)),
    }
}

fn log_frequency(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("expected a number of traces for a file, or 0, got `{text}`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use clap::Parser;
    use std::path::Path;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        traces: TraceFlags,
    }

    fn line(flags: &[&str]) -> Result<TraceFlags, String> {
        let line = Line::try_parse_from([&["hanok"], flags].concat());
        line.map(|line| line.traces).map_err(|error| error.to_string())
    }

    #[test]
    fn tritons_spellings_are_read() {
        let flags = line(&[
            "--trace-config",
            "triton,file=/tmp/a=b.json",
            "--trace-config=triton,log-frequency=50",
            "--trace-config=rate=100",
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=count=-1",
            "--trace-config=mode=triton",
        ]);
        let flags = flags.unwrap();
        let expected = TraceSettings { level: TraceLevel::Timestamps, rate: 100, count: -1, log_frequency: 50 };
        assert_eq!(flags.settings(), expected);
        assert_eq!(flags.file().as_deref(), Some(Path::new("/tmp/a=b.json")));
        assert!(flags.old().is_empty());
        assert_eq!(line(&[]).unwrap().settings(), TraceSettings::default());
        assert_eq!(line(&[]).unwrap().file(), None);
    }

    #[test]
    fn old_flags_are_read_and_the_new_one_holds_before_them() {
        let old = [
            "--trace-file=old",
            "--trace-level=MAX",
            "--trace-rate=3",
            "--trace-count",
            "-1",
            "--trace-log-frequency=2",
        ];
        let flags = line(&old).unwrap();
        let expected = TraceSettings { level: TraceLevel::Timestamps, rate: 3, count: -1, log_frequency: 2 };
        assert_eq!((flags.settings(), flags.file().as_deref()), (expected, Some(Path::new("old"))));
        assert_eq!(flags.old().len(), 5);
        let both = [&old[..], &["--trace-config=rate=9", "--trace-config=triton,file=new"]].concat();
        let flags = line(&both).unwrap();
        assert_eq!((flags.settings().rate, flags.file().as_deref()), (9, Some(Path::new("new"))));
    }

    #[test]
    fn off_holds_wherever_it_stands() {
        for levels in [["OFF", "TIMESTAMPS"], ["timestamps", "off"]] {
            let flags = levels.map(|level| format!("--trace-config=level={level}"));
            assert_eq!(line(&flags.each_ref().map(String::as_str)).unwrap().settings().level, TraceLevel::Off);
        }
        let flags = line(&["--trace-level=OFF", "--trace-config=level=TIMESTAMPS"]).unwrap();
        assert_eq!(flags.settings().level, TraceLevel::Off);
    }

    #[test]
    fn what_is_not_offered_and_what_is_wrong_is_named() {
        for (value, told) in [
            ("mode=opentelemetry", "mode `opentelemetry` is not offered yet"),
            ("opentelemetry,url=localhost:4318", "mode `opentelemetry` is not offered yet"),
            ("level=TENSORS", "level `TENSORS` is not offered yet"),
            ("level=LOUD", "expected the level `OFF` or `TIMESTAMPS`, got `LOUD`"),
            ("rate=0", "expected one request in 1 to 4294967295, got `0`"),
            ("count=-2", "expected a number of traces up to 2147483647, or -1 for no end, got `-2`"),
            ("triton,log-frequency=-1", "expected a number of traces for a file, or 0, got `-1`"),
            ("triton,rate=1", "expected `triton,file` or `triton,log-frequency`, got `triton,rate`"),
            ("file=a", "expected one of `level`, `rate`, `count`, `mode`, got `file`"),
            ("jaeger,file=a", "expected the mode `triton`, got `jaeger`"),
            (",file=a", "expected `KEY=VALUE` or `triton,KEY=VALUE`"),
            ("rate", "expected `KEY=VALUE` or `triton,KEY=VALUE`"),
            ("triton,file=", "expected `KEY=VALUE` or `triton,KEY=VALUE`"),
        ] {
            let error = line(&["--trace-config", value]).unwrap_err();
            assert!(error.contains(told), "{value}: {error}");
        }
    }
}
