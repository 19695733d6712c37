//! Where the local registry is, who acts on it, and how results are printed.

use std::env;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where the local registry is unless told otherwise.
pub(crate) const DEFAULT_REGISTRY: &str = ".hanok/registry";

/// Where the local registry is, and how results are printed.
#[derive(Args, Clone, Debug)]
pub(crate) struct RegistryFlags {
    /// Folder of the local registry
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_REGISTRY, env = "HANOK_REGISTRY")]
    pub(crate) registry: PathBuf,
    /// How results are printed
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: OutputFormat,
}

/// Who changes the registry.
#[derive(Args, Clone, Debug)]
pub(crate) struct ActorFlag {
    /// Who acts, for the record; default: the user's name
    #[arg(long, global = true, value_name = "NAME", env = "HANOK_ACTOR")]
    actor: Option<String>,
}

/// How much the registry may hold.
#[derive(Args, Clone, Debug)]
pub(crate) struct QuotaFlag {
    /// Most bytes that the registry's files may take, such as `50GB`: what was fetched and is not in use is evicted to stay
    /// below
    #[arg(long, value_name = "SIZE", env = "HANOK_REGISTRY_QUOTA", value_parser = size)]
    pub(crate) quota: Option<u64>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Tables and sentences
    Text,
    /// One JSON document
    Json,
}

impl ActorFlag {
    /// The flag, else the user's name, else the user's number.
    pub(crate) fn name(&self) -> String {
        let known = ["USER", "LOGNAME"].into_iter().filter_map(|name| env::var(name).ok());
        let named = self.actor.clone().into_iter().chain(known).find(|name| !name.trim().is_empty());
        named.unwrap_or_else(|| {
            let user = std::fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid());
            format!("uid:{user}")
        })
    }
}

/// Parses a number of bytes: `1000000`, `20GB`, `512MiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let refused = || format!("expected a number of bytes such as `1000000`, `20GB` or `512MiB`, got `{text}`");
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(refused()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("7", 7), ("20GB", 20_000_000_000), ("3 MiB", 3 << 20), ("5kB", 5_000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GB", "-1", "1.5GB", "5gb", "99999999999TB", "1 2"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
