//! Who may change what the server does: load and unload models, change the log level and which requests are traced.
//!
//! Safe without a gateway: by default only callers on the same machine may, whatever address the port is open on. A
//! token opens it to others. Calls from web pages (they carry `Origin`) are refused always, because a page that the
//! operator visits is on the same machine too (DNS rebinding, CSRF).

use std::net::IpAddr;

use hanok_backend::ServingError;

/// Who may manage the server.
#[derive(Clone, Debug, Default)]
pub enum Management {
    /// Callers on this machine.
    #[default]
    Loopback,
    /// Callers that show this token (`authorization: Bearer TOKEN`).
    Token(String),
    /// Everybody who reaches the port: for a server behind a gateway of its own.
    Open,
}

/// A refusal to manage: 403, whatever the profile.
#[derive(Clone, Debug)]
pub(crate) struct Forbidden(pub(crate) ServingError);

impl Management {
    /// Checks a call by its peer and by its `authorization` and `origin` headers.
    pub(crate) fn check(
        &self,
        peer: IpAddr,
        authorization: Option<&[u8]>,
        origin: Option<&[u8]>,
    ) -> Result<(), Forbidden> {
        let forbidden = |text: &'static str| Err(Forbidden(ServingError::unavailable(text)));
        if origin.is_some() {
            return forbidden("management is not open to web pages");
        }
        match self {
            Self::Open => Ok(()),
            Self::Loopback if peer.to_canonical().is_loopback() => Ok(()),
            Self::Loopback => forbidden(
                "management is open to callers on the same machine only; \
                 start the server with --management-token-file to let others in",
            ),
            Self::Token(token) => {
                let shown = authorization.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
                if equal_in_constant_time(shown, token.as_bytes()) {
                    Ok(())
                } else {
                    forbidden("management needs the header `authorization: Bearer TOKEN` with this server's token")
                }
            }
        }
    }
}

/// Compares without telling by its duration where the first difference is.
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn only_the_right_callers_pass() {
        let token = Management::Token("secret".to_owned());
        assert!(Management::Loopback.check(HERE, None, None).is_ok());
        assert!(Management::Loopback.check(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), None, None).is_ok());
        assert!(Management::Loopback.check(THERE, None, None).is_err());
        assert!(Management::Loopback.check(HERE, None, Some(b"https://example.org")).is_err());
        assert!(Management::Open.check(THERE, None, None).is_ok());
        assert!(token.check(THERE, Some(b"Bearer secret"), None).is_ok());
        for wrong in [None, Some(&b"Bearer secre"[..]), Some(b"Bearer secrets"), Some(b"secret"), Some(b"Bearer ")] {
            assert!(token.check(HERE, wrong, None).is_err(), "{wrong:?}");
        }
    }
}
