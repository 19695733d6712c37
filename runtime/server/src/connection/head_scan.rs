//! Finds requests whose framing has two readings: a length given twice, or a length beside a transfer coding.
//!
//! hyper follows RFC 9112 (section 6.3): the coding wins, the length is dropped before anybody sees it. That is safe for
//! us, and not for whoever stands before us and chose the length (request smuggling), so such requests are refused.
//! Only the starts of header lines are looked at, as they come in; a head may arrive in any number of pieces.

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// The longest name that is looked for, and the byte behind it.
const KEPT: usize = TRANSFER_ENCODING.len() + 1;

/// Reads one request head.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadScan {
    line: [u8; KEPT],
    kept: usize,
    lines: usize,
    lengths: usize,
    codings: usize,
    ended: bool,
}

impl HeadScan {
    /// Takes the next bytes of the connection; those behind the head are passed over.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let taken = part.len().min(KEPT - self.kept);
            self.line[self.kept..self.kept + taken].copy_from_slice(&part[..taken]);
            self.kept += taken;
            let Some(end) = end else { return };
            self.end_line();
            bytes = &bytes[end + 1..];
        }
    }

    /// What comes now is no head.
    pub(super) fn skip(&mut self) {
        self.ended = true;
    }

    /// Whether the head has two framings.
    pub(super) const fn is_ambiguous(&self) -> bool {
        self.lengths > 1 || (self.lengths > 0 && self.codings > 0)
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.kept];
        if line.is_empty() || line == b"\r" {
            // Empty lines before the request line are no end (RFC 9112, section 2.2).
            self.ended = self.lines > 0;
        } else {
            self.lines += 1;
            self.lengths += usize::from(is_header(line, CONTENT_LENGTH));
            self.codings += usize::from(is_header(line, TRANSFER_ENCODING));
        }
        self.kept = 0;
    }
}

fn is_header(line: &[u8], name: &[u8]) -> bool {
    line.split_at_checked(name.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(name) && matches!(rest.first(), Some(b':' | b' ' | b'\t'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ambiguous(head: &[u8], piece: usize) -> bool {
        let mut scan = HeadScan::default();
        head.chunks(piece).for_each(|bytes| scan.feed(bytes));
        scan.is_ambiguous()
    }

    #[test]
    fn two_framings_are_found_in_any_order_case_and_number_of_pieces() {
        for piece in [1, 2, 7, 1000] {
            for bad in [
                &b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
                b"POST / HTTP/1.1\r\ntransfer-encoding:chunked\r\nA: b\r\nCONTENT-LENGTH:4\r\n\r\n",
                b"\r\nPOST / HTTP/1.1\nContent-Length: 4\nContent-Length: 4\n\n",
            ] {
                assert!(is_ambiguous(bad, piece));
            }
            for good in [
                &b"POST / HTTP/1.1\r\nContent-Length: 4\r\nX-Transfer-Encoding: a\r\n\r\n"[..],
                b"POST / HTTP/1.1\r\nInference-Header-Content-Length: 4\r\nContent-Length: 4\r\n\r\n",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 4\r\n",
                b"GET /content-length: HTTP/1.1\r\n\r\n",
            ] {
                assert!(!is_ambiguous(good, piece));
            }
        }
    }
}
