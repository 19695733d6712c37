//! The netrc format of curl and git: `machine HOST login USER password SECRET`, white space between.
//!
//! No `default` entry and no macros: a credential goes to the host that it names, and to no other.

use super::Secret;
use crate::{SourceError, SourceErrorCode};

/// One host's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetrcEntry {
    pub(super) host: String,
    pub(super) user: String,
    pub(super) password: Secret,
}

pub(super) fn parse(text: &str) -> Result<Vec<NetrcEntry>, SourceError> {
    let refused = |why: &str| {
        SourceError::new(
            SourceErrorCode::InvalidSetting,
            format!("the netrc file {why}"),
            "write one line `machine HOST login USER password SECRET` per host",
        )
    };
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let mut entries: Vec<NetrcEntry> = Vec::new();
    let mut passwords = 0;
    while let Some(keyword) = words.next() {
        if keyword == "default" || keyword == "macdef" {
            return Err(refused("has a `default` or `macdef`, which are not taken"));
        }
        let value = words.next().ok_or_else(|| refused("ends within an entry"))?.to_owned();
        match (keyword, entries.last_mut()) {
            ("machine", _) => {
                entries.push(NetrcEntry { host: value, user: String::new(), password: Secret::new(String::new()) })
            }
            ("login", Some(entry)) => entry.user = value,
            ("password", Some(entry)) => {
                entry.password = Secret::new(value);
                passwords += 1;
            }
            ("account", Some(_)) => {}
            // The word itself might be a secret out of place.
            _ => return Err(refused("has a word that is no keyword")),
        }
    }
    if passwords != entries.len() {
        return Err(refused("has a machine without a password, or with two"));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn entries_are_read_as_curl_reads_them() {
        let entries =
            parse("# mine\nmachine a.example login me password s3cret\nmachine b.example\n\tpassword p\n").unwrap();
        let read: Vec<_> =
            entries.iter().map(|entry| (entry.host.as_str(), entry.user.as_str(), entry.password.expose())).collect();
        assert_eq!(read, [("a.example", "me", "s3cret"), ("b.example", "", "p")]);
        assert!(!format!("{entries:?}").contains("s3cret"));
        assert_eq!(parse("").unwrap(), []);
        for text in [
            "default login a password b",
            "machine",
            "machine a",
            "machine a password",
            "password b",
            "machine a s3cret x",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
