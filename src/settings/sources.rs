//! How models and tables are fetched from elsewhere: whom may be connected to, who we are there, and how much may come.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hanok_sources::{AllowedPlace, Credentials, Limits, MinimumRate, SourceError, SourceSettings};

use super::registry::size;

/// Whom may be connected to, and by whose certificates.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sources")]
pub(crate) struct ReachFlags {
    /// Connect to this place although its address is private, and without TLS if the reference says so: a host
    /// (`minio.internal`), an address, a network (`10.1.0.0/16`) or, for git+file, `file:///FOLDER`; may be given several
    /// times. Without it only public addresses are connected to
    #[arg(long = "allow-private", value_name = "PLACE", env = "HANOK_ALLOW_PRIVATE", value_parser = places)]
    allowed: Vec<AllowedPlaces>,
    /// PEM file with certificate authorities to trust besides this system's
    #[arg(long, value_name = "FILE")]
    source_authorities: Option<PathBuf>,
}

impl ReachFlags {
    /// The settings for tables in buckets, with credentials from the environment.
    pub(crate) fn for_tables(&self) -> Result<SourceSettings, SourceError> {
        /// Longest time for one listing, one part read or one part written, retries included.
        const CALL: Duration = Duration::from_secs(300);
        /// Files that one path may mean, as many as on a disk.
        const FILES: usize = 100_000;
        self.settings(Limits { time: CALL, files: FILES, ..Limits::default() }, None)
    }

    fn settings(&self, limits: Limits, netrc: Option<&Path>) -> Result<SourceSettings, SourceError> {
        Ok(SourceSettings {
            allowed: self.allowed.iter().flat_map(|places| places.0.clone()).collect(),
            limits,
            credentials: Credentials::read(|name| env::var(name).ok(), netrc)?,
            certificate_authorities: self.source_authorities.clone(),
        })
    }
}

/// How models are fetched.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sources")]
pub(crate) struct SourceFlags {
    #[command(flatten)]
    reach: ReachFlags,
    /// File in netrc's form with users and passwords by host, for https and git+https. Other credentials come from the
    /// variables of each tool: MLFLOW_TRACKING_*, AWS_*, GOOGLE_*, AZURE_*
    #[arg(long, value_name = "FILE", env = "NETRC")]
    netrc: Option<PathBuf>,
    /// Most bytes of one model, unpacked, such as `20GB`
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = size)]
    max_model_bytes: u64,
    /// Longest time in seconds for fetching one model; the next attempt goes on where this one stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    fetch_timeout_secs: u64,
    /// Least bytes a second that a server must send, over each `--minimum-rate-secs` in which it is waited for; 0 asks for
    /// nothing. What git fetches is bounded by the time alone
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = size)]
    minimum_rate: u64,
    /// Over how many seconds the minimum rate is taken
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    minimum_rate_secs: u64,
}

impl SourceFlags {
    /// The settings, with credentials from the environment.
    pub(crate) fn settings(&self) -> Result<SourceSettings, SourceError> {
        let time = Duration::from_secs(self.fetch_timeout_secs);
        let over = Duration::from_secs(self.minimum_rate_secs);
        let rate = MinimumRate { bytes_per_second: self.minimum_rate, over };
        let limits = Limits { bytes: self.max_model_bytes, time, rate, ..Limits::default() };
        self.reach.settings(limits, self.netrc.as_deref())
    }
}

/// Places with commas between them; an empty text, as of a variable that is set to nothing, names none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AllowedPlaces(Vec<AllowedPlace>);

fn places(text: &str) -> Result<AllowedPlaces, String> {
    let named = Some(text).filter(|text| !text.trim().is_empty()).into_iter().flat_map(|text| text.split(','));
    let place =
        |text: &str| text.parse().map_err(|error: SourceError| format!("{}; {}", error.message(), error.action()));
    named.map(place).collect::<Result<_, _>>().map(AllowedPlaces)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_variable_that_is_set_to_nothing_allows_nothing() {
        for (text, count) in [("", 0), (" ", 0), ("127.0.0.1", 1), ("minio.internal,10.1.0.0/16", 2)] {
            assert_eq!(places(text).unwrap().0.len(), count, "{text}");
        }
        for text in ["127.0.0.1,", ",", "10.1.0.0/99"] {
            assert!(places(text).is_err(), "{text}");
        }
    }
}
