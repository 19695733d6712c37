//! Where a Redis server is, and as whom it is asked.

use std::path::{Path, PathBuf};

/// The port where an address names none.
const PORT: u16 = 6379;

/// Where a Redis server is, and as whom it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisAddress {
    /// `redis://HOST:PORT/DATABASE`, without credentials.
    pub url: String,
    /// User of the access control list.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
}

impl RedisAddress {
    /// The same, its file found from `folder` where its path is relative.
    pub(crate) fn within(&self, folder: &Path) -> Self {
        Self { password_file: self.password_file.as_ref().map(|file| folder.join(file)), ..self.clone() }
    }

    /// Host, port and database; none for another form.
    pub(crate) fn parts(&self) -> Option<(String, u16, u32)> {
        let rest = self.url.strip_prefix("redis://")?;
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { 0 } else { database.parse().ok()? };
        // An address of version 6 stands in brackets.
        let (host, port) = match host.strip_prefix('[') {
            Some(inner) => inner.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(PORT), |port| port.parse().ok())?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        (!host.is_empty() && host.bytes().all(known)).then(|| (host.to_owned(), port, database))
    }
}

#[cfg(test)]
mod tests {
    use super::RedisAddress;

    #[test]
    fn addresses_have_host_port_and_database() {
        let parts = |url: &str| RedisAddress { url: url.to_owned(), username: None, password_file: None }.parts();
        assert_eq!(parts("redis://db.example"), Some(("db.example".to_owned(), 6379, 0)));
        assert_eq!(parts("redis://10.0.0.7:7000/3"), Some(("10.0.0.7".to_owned(), 7000, 3)));
        assert_eq!(parts("redis://[::1]:7000"), Some(("::1".to_owned(), 7000, 0)));
        for wrong in ["redis://", "rediss://db", "redis://db:x", "redis://db/x", "redis://db?x=1", "redis://[::1"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
