//! Who we are to whom: values of the environment, and of a netrc file. Never part of a reference, never printed.

mod netrc;
mod secret;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use netrc::{NetrcEntry, parse};
pub use secret::Secret;

use crate::{SourceError, SourceErrorCode};

/// Variables that sources know, and nothing else is taken.
pub const VARIABLES: [&str; 33] = [
    "PATH",
    "SSH_AUTH_SOCK",
    "HANOK_GIT_SSH_KEY",
    "HANOK_GIT_SSH_KNOWN_HOSTS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_SKIP_SIGNATURE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "MLFLOW_S3_ENDPOINT_URL",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SKIP_SIGNATURE",
    "STORAGE_EMULATOR_HOST",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_SKIP_SIGNATURE",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
];

/// Credentials and endpoints, as they were given.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    values: BTreeMap<&'static str, Secret>,
    netrc: Vec<NetrcEntry>,
}

impl Credentials {
    /// Takes the [`VARIABLES`] from `lookup`, usually the environment, and hosts from the netrc file at `netrc`.
    ///
    /// # Errors
    /// [`SourceErrorCode::InvalidSetting`] when the file cannot be read or understood.
    pub fn read(lookup: impl Fn(&str) -> Option<String>, netrc: Option<&Path>) -> Result<Self, SourceError> {
        let values = VARIABLES
            .into_iter()
            .filter_map(|name| lookup(name).filter(|value| !value.is_empty()).map(|value| (name, Secret::new(value))))
            .collect();
        let netrc = match netrc {
            None => Vec::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    SourceError::new(
                        SourceErrorCode::InvalidSetting,
                        "the netrc file cannot be read",
                        "name a readable file, or leave the setting out",
                    )
                    .with_operator_detail(format_args!("{}: {error}", path.display()))
                })?;
                parse(&text)?
            }
        };
        Ok(Self { values, netrc })
    }

    /// The value of a variable.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(Secret::expose)
    }

    /// User and password for `host`.
    pub(crate) fn for_host(&self, host: &str) -> Option<(&str, &str)> {
        let entry = self.netrc.iter().find(|entry| entry.host.eq_ignore_ascii_case(host))?;
        Some((&entry.user, entry.password.expose()))
    }

    /// An `Authorization` header for `host`.
    pub(crate) fn basic_for_host(&self, host: &str) -> Option<HeaderValue> {
        self.for_host(host).and_then(|(user, password)| basic(user, password))
    }
}

/// A basic `Authorization` header, marked as not to be printed.
pub(crate) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).ok()?;
    value.set_sensitive(true);
    Some(value)
}
