//! HMAC-SHA256 in the spellings that senders use, and equality of tokens, all in constant time. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::digest::hexadecimal;

/// Whether `text` is the hexadecimal HMAC of `body`, after `prefix`.
pub(super) fn is_hexadecimal_hmac(secret: &[u8], body: &[u8], prefix: &str, text: &str) -> bool {
    let tag = text.strip_prefix(prefix).and_then(hexadecimal::<32>);
    tag.is_some_and(|tag| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, &tag).is_ok())
}

/// Whether one of the signatures in `text`, `v1,BASE64` with spaces between, is that of `id.timestamp.body`
/// (Standard Webhooks 1.0).
pub(super) fn is_standard_webhook(secret: &[u8], id: &str, timestamp: &str, body: &[u8], text: &str) -> bool {
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    text.split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"))
        .take(8)
        .any(|signature| STANDARD.decode(signature).is_ok_and(|tag| hmac::verify(&key, &signed, &tag).is_ok()))
}

/// Whether two tokens are equal, without telling by the time taken where they differ or how long they are.
pub(super) fn same_token(expected: &[u8], presented: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"equality of tokens");
    hmac::verify(&key, expected, hmac::sign(&key, presented).as_ref()).is_ok()
}
