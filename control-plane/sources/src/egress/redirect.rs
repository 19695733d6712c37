//! Which redirects are followed. Pure.

use url::Url;

use crate::artifact_path::shown;
use crate::{SourceError, SourceErrorCode};

/// Most redirects of one request.
pub(super) const MOST: usize = 5;

/// Where a request goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextHop {
    pub(super) url: Url,
    /// Whether credentials may go along: only to the very same origin.
    pub(super) same_origin: bool,
}

/// Judges the redirect from `from` to `location` after `hops` earlier ones. Addresses are judged when connecting.
pub(super) fn follow(from: &Url, location: Option<&str>, hops: usize) -> Result<NextHop, SourceError> {
    let refused = |why: &str| {
        SourceError::new(
            SourceErrorCode::RedirectRefused,
            format!("`{}` redirects {why}", shown(from.host_str().unwrap_or_default())),
            "use the final address in the reference, or have the server corrected",
        )
    };
    if hops >= MOST {
        return Err(refused("more than 5 times"));
    }
    let location = location.ok_or_else(|| refused("without saying where to"))?;
    let url = from.join(location).map_err(|_| refused("to something that is no URL"))?;
    match (from.scheme(), url.scheme()) {
        ("https" | "http", "https") | ("http", "http") => {}
        ("https", "http") => return Err(refused("from https to http")),
        _ => return Err(refused("to another scheme than https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("to a URL with a user name or password in it"));
    }
    let same_origin = url.origin() == from.origin();
    Ok(NextHop { url, same_origin })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_is_followed_and_what_is_not() {
        let from = Url::parse("https://a.example/x/y").unwrap();
        let hop = follow(&from, Some("../z"), 0).unwrap();
        assert_eq!((hop.url.as_str(), hop.same_origin), ("https://a.example/z", true));
        let hop = follow(&from, Some("https://cdn.example/z"), 4).unwrap();
        assert!(!hop.same_origin);
        assert!(!follow(&from, Some("https://a.example:8443/z"), 0).unwrap().same_origin);
        for location in
            ["http://a.example/", "file:///etc/passwd", "ftp://a.example/", "https://u:p@a.example/", "https://"]
        {
            assert_eq!(
                follow(&from, Some(location), 0).unwrap_err().code(),
                SourceErrorCode::RedirectRefused,
                "{location}"
            );
        }
        assert!(follow(&from, None, 0).is_err());
        assert!(follow(&from, Some("/z"), MOST).is_err());
    }
}
