//! Where a v2 server is: `http://HOST:PORT[/PREFIX]` or `grpc://HOST:PORT`.
//!
//! Not a general URL: no user, no query, no TLS. A missing scheme means HTTP, a missing port the protocol's standard.

use std::fmt;
use std::str::FromStr;

/// The protocol spoken with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// JSON with the binary tensor extension, over HTTP/1.1.
    Http,
    /// `inference.GRPCInferenceService`.
    Grpc,
}

impl Protocol {
    /// The URL scheme.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }

    const fn standard_port(self) -> u16 {
        match self {
            Self::Http => 8000,
            Self::Grpc => 8001,
        }
    }
}

/// A server's address, as given with `--server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    /// The protocol spoken there.
    pub(crate) protocol: Protocol,
    /// `HOST:PORT`, as for a connection and for the `Host` header.
    pub(crate) authority: String,
    /// What stands before `/v2` in every path: empty, or `/` and more without a slash at the end.
    pub(crate) prefix: String,
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected http://HOST:PORT or grpc://HOST:PORT";
        let (protocol, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Protocol::Http, rest),
            Some(("grpc", rest)) => (Protocol::Grpc, rest),
            Some(("https" | "grpcs", _)) => {
                return Err(format!(
                    "{expected}, `{text}` asks for TLS, which this client lacks: use a local TLS proxy"
                ));
            }
            Some(_) => return Err(format!("{expected}, actual `{text}`")),
            None => (Protocol::Http, text),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let prefix = path.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['@', '?', ' ']) {
            return Err(format!("{expected}, actual `{text}`"));
        }
        if protocol == Protocol::Grpc && !prefix.is_empty() {
            return Err(format!("a gRPC address has no path, actual `{text}`"));
        }
        let after_host = authority.rfind(']').map_or(authority, |bracket| &authority[bracket..]);
        let authority = match after_host.rsplit_once(':') {
            Some((_, port)) => {
                port.parse::<u16>().map_err(|_| format!("{expected}, port `{port}` is not within 0 to 65535"))?;
                authority.to_owned()
            }
            None => format!("{authority}:{}", protocol.standard_port()),
        };
        Ok(Self { protocol, authority, prefix: prefix.to_owned() })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.protocol.name(), self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn reads_what_people_type() {
        for (text, shown) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("localhost", "http://localhost:8000"),
            ("localhost:9000/", "http://localhost:9000"),
            ("grpc://localhost", "grpc://localhost:8001"),
            ("http://gate:80/serving/one/", "http://gate:80/serving/one"),
            ("http://[::1]", "http://[::1]:8000"),
            ("grpc://[::1]:7", "grpc://[::1]:7"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown);
        }
        for text in ["https://a", "ftp://a", "http://", "a:99999", "grpc://a/b", "a b"] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
