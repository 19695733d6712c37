//! What a user writes to name a model somewhere else, parsed: a closed set of forms, each checked before anything connects.
//!
//! No reference ever holds a credential: one with a user name, a password or a parameter that names a secret is refused, and
//! its text is not repeated.
//! [`SourceReference`] prints as text that parses to the same reference.

mod bucket;
mod git;
mod last_name;
mod mlflow;
mod secret_parameter;
mod web;

use std::fmt;
use std::str::FromStr;

pub(crate) use bucket::parse as parse_bucket;
pub use bucket::{BucketProvider, BucketReference};
pub use git::{GitReference, GitRevision, GitTransport};
pub use mlflow::{MlflowReference, MlflowSelector};
pub use secret_parameter::holds_secret_parameter;
pub use web::WebReference;

use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

const LONGEST_BYTES: usize = 4096;

/// A parsed reference to a model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SourceReference {
    /// `mlflow://NAME@ALIAS`, `mlflow://NAME/VERSION`, `mlflow://NAME/STAGE`, `mlflow://NAME/latest`
    Mlflow(MlflowReference),
    /// `s3://BUCKET/PREFIX`, `gs://…`, `az://CONTAINER/PREFIX`
    Bucket(BucketReference),
    /// `https://HOST/PATH`, a file or a `.tar`, `.tar.gz`, `.tgz`; `#sha256=HEX` pins it
    Web(WebReference),
    /// `git+https://HOST/PATH#REVISION:FOLDER`, `git+ssh`, `git+http`, `git+file`
    Git(GitReference),
}

impl FromStr for SourceReference {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.len() > LONGEST_BYTES {
            return Err(invalid(format!("the reference is longer than {LONGEST_BYTES} bytes")));
        }
        if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err(invalid("the reference contains white space or a control character".to_owned()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid(format!("`{}` has no scheme", shown(text))));
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "mlflow" => mlflow::parse(rest).map(Self::Mlflow),
            "s3" => bucket::parse(BucketProvider::S3, rest).map(Self::Bucket),
            "gs" => bucket::parse(BucketProvider::Gcs, rest).map(Self::Bucket),
            "az" => bucket::parse(BucketProvider::Azure, rest).map(Self::Bucket),
            "https" | "http" => web::parse(text).map(Self::Web),
            "git+https" => git::parse(GitTransport::Https, rest).map(Self::Git),
            "git+http" => git::parse(GitTransport::Http, rest).map(Self::Git),
            "git+ssh" => git::parse(GitTransport::Ssh, rest).map(Self::Git),
            "git+file" => git::parse(GitTransport::File, rest).map(Self::Git),
            _ => Err(invalid(format!("`{}` is no scheme that models are pulled from", shown(&scheme)))),
        }
    }
}

impl fmt::Display for SourceReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mlflow(reference) => reference.fmt(formatter),
            Self::Bucket(reference) => reference.fmt(formatter),
            Self::Web(reference) => reference.fmt(formatter),
            Self::Git(reference) => reference.fmt(formatter),
        }
    }
}

fn invalid(message: String) -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidReference,
        message,
        "write one of mlflow://NAME@ALIAS, mlflow://NAME/VERSION, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, \
         https://HOST/FILE, git+https://HOST/REPOSITORY#COMMIT:FOLDER, git+ssh://…, git+file:///…",
    )
}

/// A reference that carries a credential. Its text is not repeated, since it would then stand in a log.
fn credential_within(scheme: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidReference,
        format!("the {scheme} reference holds a user name or password"),
        "take it out of the reference and set it in the environment or a file instead",
    )
}

/// Characters kept as they are where a part of a reference is printed; all others become `%XX`.
const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'=')
    .remove(b'+')
    .remove(b',');

/// As [`KEPT`], and `/` between the parts of a path.
const KEPT_IN_PATHS: &percent_encoding::AsciiSet = &KEPT.remove(b'/');

fn decoded(part: &str) -> Result<String, SourceError> {
    let text = percent_encoding::percent_decode_str(part)
        .decode_utf8()
        .map_err(|_| invalid(format!("`{}` is not UTF-8 after decoding", shown(part))))?;
    if text.chars().any(char::is_control) {
        return Err(invalid("the reference contains an encoded control character".to_owned()));
    }
    Ok(text.into_owned())
}

/// Checks that `text` is a host with an optional port, as it stands between `//` and the next `/`.
fn checked_authority(scheme: &str, text: &str, user_allowed: bool) -> Result<(), SourceError> {
    let host = match text.rsplit_once('@') {
        None => text,
        Some((user, host)) => {
            if !user_allowed || user.contains(':') || user.contains('%') {
                return Err(credential_within(scheme));
            }
            let plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
            if user.is_empty() || user.starts_with('-') || !user.chars().all(plain) {
                return Err(invalid(format!("`{}` is no user name", shown(user))));
            }
            host
        }
    };
    let parsed = url::Url::parse(&format!("http://{host}/")).ok();
    let usable = parsed.as_ref().and_then(url::Url::host_str).is_some_and(|host| !host.is_empty());
    if !usable || host.starts_with('-') || host.contains(['\\', '?', '#', '/']) {
        return Err(invalid(format!("`{}` is no host", shown(host))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn references_print_as_they_were_read() {
        for text in [
            "mlflow://flight_delay@champion".to_owned(),
            "mlflow://flight_delay/7".to_owned(),
            "mlflow://flight_delay/Production".to_owned(),
            "mlflow://flight_delay/latest".to_owned(),
            "mlflow://credit%20model@champion".to_owned(),
            "s3://models/flight/1".to_owned(),
            "gs://models/flight".to_owned(),
            "az://models/flight".to_owned(),
            "s3://models".to_owned(),
            "https://example.com/model.onnx".to_owned(),
            "https://example.com/a/model.tar.gz?version=3".to_owned(),
            "https://example.com/model.onnx?tokenizer=bpe&author=ann".to_owned(),
            format!("https://example.com/model.onnx#sha256={}", "ab".repeat(32)),
            "https://[2001:4860::1]:8443/m.onnx".to_owned(),
            format!("git+https://example.com/models.git#{COMMIT}:flight/1"),
            "git+https://example.com/models.git#main:flight".to_owned(),
            "git+ssh://git@example.com:2222/team/models.git#v1.2".to_owned(),
            "git+http://127.0.0.1:3000/models".to_owned(),
            "git+file:///srv/models.git#main".to_owned(),
        ] {
            let reference: SourceReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn bad_references_are_refused_without_repeating_secrets() {
        for text in [
            "",
            "model",
            "ftp://example.com/x",
            "file:///etc/passwd",
            "mlflow://",
            "mlflow://a",
            "mlflow://a@",
            "mlflow://@b",
            "mlflow://a/0",
            "mlflow://a/7/x",
            "mlflow://a/../b@c",
            "mlflow://a%2Fb@c",
            "mlflow://..@c",
            "mlflow://a@b@c",
            "mlflow://a/99999999999999999999",
            "s3://",
            "s3:///x",
            "s3://bucket/../x",
            "s3://bucket/%2e%2e/x",
            "s3://Bucket!/x",
            "s3://user:secret@bucket/x",
            "https://",
            "https:///x",
            "https://example.com",
            "https://example.com/",
            "https://user:secret@example.com/x",
            "https://secret@example.com/x",
            "https://example.com/x?private_token=secret",
            "https://example.com/x?v=2&X-Amz-Signature=secret",
            "https://example.com/x?sv=1&sig=secret",
            "https://example.com/x?authKey=secret",
            "https://example.com/x?api-key=secret#sha256=00",
            "https://exa mple.com/x?token=secret",
            "https://example.com:port/x?token=secret",
            "https://example.com/x#md5=00",
            "https://example.com/x#sha256=00",
            "https://example.com/x.zip",
            "git+https://example.com/x#-u:y",
            "git+https://example.com/x#--upload-pack=y",
            "git+https://example.com/x#a..b",
            "git+https://example.com/x#main:../y",
            "git+https://example.com/x#main:/y",
            "git+https://user:secret@example.com/x",
            "git+https://secret@example.com/x",
            "git+https://-x/y",
            "git+ssh://-oProxyCommand=x/y",
            "git+ssh://-oProxyCommand=x@host/y",
            "git+ssh://git:secret@host/y",
            "git+ssh://host/-x",
            "git+ext://sh -c x",
            "git+ext://sh",
            "git+file://host/x",
            "git+file:///",
            "git+https://example.com/",
            "git+https://example.com/x\n",
        ] {
            let error = text.parse::<SourceReference>().unwrap_err();
            assert!(
                [SourceErrorCode::InvalidReference, SourceErrorCode::UnsafePath, SourceErrorCode::Unsupported]
                    .contains(&error.code()),
                "{text}: {error}"
            );
            assert!(!error.to_string().contains("secret"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_as_itself(text in "(mlflow|s3|gs|az|https|http|git\\+https|git\\+ssh|git\\+file)://[a-zA-Z0-9@:/%#?=._~ -]{0,60}") {
            if let Ok(reference) = text.parse::<SourceReference>() {
                let printed = reference.to_string();
                prop_assert_eq!(printed.parse::<SourceReference>().map_err(|error| error.to_string()), Ok(reference), "{}", printed);
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,80}") {
            text.parse::<SourceReference>().ok();
        }
    }
}
