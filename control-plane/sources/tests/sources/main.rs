//! Sources against real servers: web servers that misbehave, Git over files and over its own HTTP back end,
//! MLflow, object storage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod address_oracle;
mod archives;
mod buckets;
mod cutting_proxy;
mod encrypted;
mod git_folders;
mod git_server;
mod interrupted;
mod mlflow_models;
mod mlflow_server;
mod mlflow_storage;
mod mlflow_watch;
mod object_storage;
mod open_bucket;
mod other_clouds;
mod python_server;
mod web_files;
mod web_refusals;
mod web_server;

use std::path::Path;
use std::time::Duration;

use hanok_sources::{Credentials, Limits, SourceError, SourceReference, SourceSettings, Sources};

/// Settings for tests: impatient, and loopback allowed by address.
fn settings(allowed: &[&str]) -> SourceSettings {
    SourceSettings {
        allowed: allowed.iter().map(|place| place.parse().unwrap()).collect(),
        limits: Limits {
            silence: Duration::from_secs(5),
            time: Duration::from_secs(60),
            retries: 2,
            ..Limits::default()
        },
        credentials: Credentials::default(),
        ..SourceSettings::default()
    }
}

fn sources(allowed: &[&str]) -> Sources {
    Sources::new(settings(allowed)).unwrap()
}

fn reference(text: &str) -> SourceReference {
    text.parse().unwrap()
}

/// Resolves and fetches.
async fn pull(sources: &Sources, text: &str, destination: &Path) -> Result<hanok_sources::FetchedFolder, SourceError> {
    let resolved = sources.resolve(&reference(text)).await?;
    sources.fetch(&resolved, destination, None).await
}

/// What a failed pull must leave: nothing at the destination.
fn assert_invisible(destination: &Path) {
    assert!(destination.symlink_metadata().is_err(), "a failed pull left something visible");
}
