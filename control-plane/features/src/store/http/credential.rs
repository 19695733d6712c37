//! Who asks: a token in a header of the product's own, or a signature; from a file that is read again now and then.
//!
//! A failed read keeps what was read last.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde_json::Value as Json;

use super::Call;
use super::signature::{Credentials, Signed, authorization};
use crate::error::FeatureError;

/// How long a secret is used before its file is read again: tokens of clouds are replaced every hour.
const AGE: Duration = Duration::from_secs(60);

/// How a product wants to know who asks.
#[derive(Clone, Debug)]
pub(super) enum Scheme {
    /// A header with a word before the token.
    Header(HeaderName, &'static str),
    /// Amazon's signature for a region; the file is a JSON object with `access_key_id`, `secret_access_key` and, for
    /// temporary ones, `session_token`.
    Signature(String),
}

#[derive(Clone)]
enum Secret {
    Header(HeaderName, HeaderValue),
    Signature(String, Credentials),
}

/// A secret from a file.
pub(super) struct Credential {
    file: PathBuf,
    scheme: Scheme,
    held: Mutex<(Secret, Instant)>,
}

impl Credential {
    pub(super) fn read(file: &Path, scheme: Scheme) -> Result<Self, FeatureError> {
        let held = Mutex::new((read_secret(file, &scheme)?, Instant::now()));
        Ok(Self { file: file.to_owned(), scheme, held })
    }

    /// Adds what tells who asks.
    pub(super) async fn add_to(&self, headers: &mut HeaderMap, call: &Call, host: &str) -> Result<(), FeatureError> {
        match self.current().await {
            Secret::Header(name, value) => {
                headers.insert(name, value);
            }
            Secret::Signature(region, credentials) => sign(headers, call, host, &region, &credentials)?,
        }
        Ok(())
    }

    async fn current(&self) -> Secret {
        let (secret, since) = self.held.lock().clone();
        if since.elapsed() < AGE {
            return secret;
        }
        let (file, scheme) = (self.file.clone(), self.scheme.clone());
        let read = tokio::task::spawn_blocking(move || read_secret(&file, &scheme)).await;
        let secret = read.ok().and_then(Result::ok).unwrap_or(secret);
        *self.held.lock() = (secret.clone(), Instant::now());
        secret
    }
}

fn unusable(file: &Path, detail: impl std::fmt::Display) -> FeatureError {
    let detail = format!("{}: {detail}", file.display());
    FeatureError::unavailable("the feature store's token file cannot be used", detail)
}

fn read_secret(file: &Path, scheme: &Scheme) -> Result<Secret, FeatureError> {
    let text = std::fs::read_to_string(file).map_err(|error| unusable(file, error))?;
    match scheme {
        Scheme::Header(name, word) => {
            let value = HeaderValue::from_str(&format!("{word}{}", text.trim()));
            let mut value = value.map_err(|error| unusable(file, error))?;
            value.set_sensitive(true);
            Ok(Secret::Header(name.clone(), value))
        }
        Scheme::Signature(region) => {
            let json: Json = serde_json::from_str(&text).map_err(|_| unusable(file, "expected a JSON object"))?;
            let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
            let missing = || unusable(file, "expected `access_key_id` and `secret_access_key`");
            let credentials = Credentials {
                access_key: text("access_key_id").ok_or_else(missing)?,
                secret_key: text("secret_access_key").ok_or_else(missing)?,
                session_token: text("session_token"),
            };
            Ok(Secret::Signature(region.clone(), credentials))
        }
    }
}

fn sign(
    headers: &mut HeaderMap,
    call: &Call,
    host: &str,
    region: &str,
    credentials: &Credentials,
) -> Result<(), FeatureError> {
    let wrong = |detail: &dyn std::fmt::Display| FeatureError::internal("a request cannot be signed", detail);
    let now = jiff::Timestamp::try_from(SystemTime::now()).map_err(|error| wrong(&error))?;
    let time = now.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let time = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    let mut signed = vec![("content-type", "application/json"), ("host", host), ("x-amz-date", time.as_str())];
    if let Some(token) = &credentials.session_token {
        signed.push(("x-amz-security-token", token));
    }
    let request = Signed {
        method: call.method.as_str(),
        path: &call.path,
        headers: &signed,
        body: &call.body,
        region,
        service: "sagemaker",
        time: &time,
    };
    let authorization = authorization(&request, credentials);
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| wrong(&error));
    headers.insert(AUTHORIZATION, value(&authorization)?);
    headers.insert(HOST, value(host)?);
    headers.insert(HeaderName::from_static("x-amz-date"), value(&time)?);
    if let Some(token) = &credentials.session_token {
        headers.insert(HeaderName::from_static("x-amz-security-token"), value(token)?);
    }
    Ok(())
}
