//! Who is let in: whoever has the token; without one, whoever is on this machine and is no web page.

use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

/// Fewest bytes of a token.
pub(super) const SHORTEST_TOKEN: usize = 16;

/// Decides who is let in.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// Digest of the token, if there is one.
    digest: Option<[u8; 32]>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No token, or another one.
    Token,
    /// A web page of somewhere else asks through its reader's browser.
    ForeignOrigin,
}

impl Gate {
    pub(super) fn new(token: Option<&str>) -> Self {
        Self { digest: token.map(digest) }
    }

    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Some(expected) = &self.digest {
            let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
            return if same(expected, &digest(given)) { Ok(()) } else { Err(Refusal::Token) };
        }
        // Without a token the loopback is the only wall, and a browser is inside of it: it says where a page is from,
        // and a name that an attacker made point here is no address of this machine.
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        if headers.contains_key(header::ORIGIN) || !local { Err(Refusal::ForeignOrigin) } else { Ok(()) }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Takes the same time whatever differs; and what is compared are digests, of which a near miss tells nothing.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let differing = left.iter().zip(right).fold(0, |bits, (left, right)| bits | (left ^ right));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use http::HeaderMap;

    use super::{Gate, Refusal};

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_token_opens() {
        let gate = Gate::new(Some("correct horse battery"));
        assert_eq!(gate.admit(&headers(&[("authorization", "Bearer correct horse battery")])), Ok(()));
        for wrong in ["Bearer ", "Bearer correct horse batterY", "correct horse battery", "Basic correct", ""] {
            assert_eq!(gate.admit(&headers(&[("authorization", wrong)])), Err(Refusal::Token), "{wrong}");
        }
        assert_eq!(gate.admit(&HeaderMap::new()), Err(Refusal::Token));
    }

    #[test]
    fn without_a_token_web_pages_stay_out() {
        let gate = Gate::new(None);
        assert_eq!(gate.admit(&headers(&[("host", "127.0.0.1:9000")])), Ok(()));
        assert_eq!(gate.admit(&headers(&[("host", "localhost")])), Ok(()));
        for foreign in [
            headers(&[("host", "evil.example:9000")]),
            headers(&[("host", "localhost:9000"), ("origin", "https://evil.example")]),
            HeaderMap::new(),
        ] {
            assert_eq!(gate.admit(&foreign), Err(Refusal::ForeignOrigin));
        }
    }
}
