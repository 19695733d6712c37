//! Text files that an operator names: read whole, up to a size. A pipe is welcome, an endless one is not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Largest file of settings: declarations, plans, tokens.
pub(crate) const LARGEST_SETTINGS: u64 = 16 << 20;

/// Reads the file.
///
/// # Errors
/// When it cannot be read, has more than `largest` bytes, or is no text in UTF-8.
pub(crate) fn read(path: &Path, largest: u64) -> io::Result<String> {
    read_from(File::open(path)?, largest)
}

/// Reads to the end.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_from(source: impl Read, largest: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        let reason = format!("expected at most {largest} bytes, got more");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected text in UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_has_no_end_is_refused() {
        assert_eq!(read_from(&b"plan"[..], 4).unwrap(), "plan");
        assert!(read_from(&b"plans"[..], 4).unwrap_err().to_string().contains("at most 4 bytes"));
        assert!(read(Path::new("/dev/zero"), 1 << 20).is_err());
        assert!(read_from(&b"\xff"[..], 4).unwrap_err().to_string().contains("UTF-8"));
    }
}
