//! SHA-256 digests, of files and of whole folders.

use std::fmt;

use ring::digest::{Context, SHA256, digest};

use crate::{SourceError, SourceErrorCode};

/// The SHA-256 of some bytes. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// Digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_ring(&digest(&SHA256, bytes))
    }

    fn from_ring(digest: &ring::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        // A SHA-256 has 32 bytes, always.
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits, in either case.
    ///
    /// # Errors
    /// [`SourceErrorCode::InvalidReference`] when it is something else.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        hexadecimal(text).map(Self).ok_or_else(|| {
            SourceError::new(
                SourceErrorCode::InvalidReference,
                format!("expected a SHA-256 of 64 hexadecimal digits, got `{}`", crate::artifact_path::shown(text)),
                "copy the digest anew, for instance from `sha256sum FILE`",
            )
        })
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Reads exactly `N` bytes written as hexadecimal digits.
pub(crate) fn hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

/// A running digest. ring's, since it is here for TLS already and is the fastest without special instructions.
#[derive(Clone)]
pub(crate) struct Sha256Stream(Context);

impl Default for Sha256Stream {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl fmt::Debug for Sha256Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sha256Stream")
    }
}

impl Sha256Stream {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256Digest {
        Sha256Digest::from_ring(&self.0.finish())
    }
}

/// Digest of a folder: the SHA-256 of one line `DIGEST  PATH\n` per file, ordered by path. The output of
/// `sha256sum` over all files, sorted by path in byte order, gives the same.
#[must_use]
pub fn folder_digest<'a>(files: impl IntoIterator<Item = (&'a str, Sha256Digest)>) -> Sha256Digest {
    let mut lines: Vec<(&str, Sha256Digest)> = files.into_iter().collect();
    lines.sort_unstable();
    let mut stream = Sha256Stream::default();
    for (path, digest) in lines {
        stream.update(format!("{digest}  {path}\n").as_bytes());
    }
    stream.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn digests_agree_with_coreutils() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256Digest::of(b"abc").to_string(), abc);
        assert_eq!(Sha256Digest::parse(&abc.to_uppercase()).unwrap(), Sha256Digest::of(b"abc"));
        assert!(Sha256Digest::parse(&abc[1..]).is_err());
        assert!(Sha256Digest::parse(&abc.replace('b', "ß")).is_err());
        // In a folder with a/x = "abc" and b = "": `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`
        let folder = folder_digest([("b", Sha256Digest::of(b"")), ("a/x", Sha256Digest::of(b"abc"))]);
        assert_eq!(folder.to_string(), "05b025834d40760017562f6379409e115cc16e0327885fdc388140f5074a7732");
    }
}
