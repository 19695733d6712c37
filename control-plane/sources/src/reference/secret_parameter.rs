//! Parameters of URLs that hold a credential, by their names. Pure.
//!
//! A link that is signed counts, too: it opens what it names to whoever reads it, it ends, and what is on record is kept.

use percent_encoding::percent_decode_str;

/// Ends of names, in letters and digits alone.
const SECRETS: [&str; 16] = [
    "token",
    "secret",
    "password",
    "passwd",
    "signature",
    "credential",
    "credentials",
    "apikey",
    "accesskey",
    "accesskeyid",
    "authkey",
    "privatekey",
    "secretkey",
    "sessionid",
    "hmac",
    "jwt",
];

/// Whether a parameter of this name holds what must not stand in a log or a registry.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(name.as_str(), "sig" | "key" | "pw" | "pwd" | "pass" | "auth" | "authorization" | "hdnts" | "hdnea")
        || SECRETS.iter().any(|secret| name.ends_with(secret))
}

/// Whether a text has a URL within whose parameters hold a credential, as far as their names tell: what a source says about a
/// model may quote where its data came from.
#[must_use]
pub fn holds_secret_parameter(text: &str) -> bool {
    let parameters = text.split(['?', '&']).skip(1);
    let mut names = parameters.filter_map(|parameter| parameter.split_once('=')).map(|(name, _)| name);
    names.any(|name| names_a_secret(&percent_decode_str(name).decode_utf8_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_links_are_found_wherever_they_are_quoted() {
        for text in [
            "https://b.s3.amazonaws.com/d.parquet?X-Amz-Expires=60&X-Amz-Signature=ab",
            r#"{"url": "https://x.blob.core.windows.net/d?sv=2024&sig=ab%3D"}"#,
            "https://storage.googleapis.com/d?X%2DGoog%2DCredential=me",
            "see https://h/x?private_token=s",
        ] {
            assert!(holds_secret_parameter(text), "{text}");
        }
        for text in ["https://h/x?version=2&tokenizer=bpe", "token=5", "a ? b & c", r#"{"url": "https://h/x"}"#, ""] {
            assert!(!holds_secret_parameter(text), "{text}");
        }
    }
}
