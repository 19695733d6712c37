//! Amazon's request signatures, version 4 (AWS General Reference, "Signing AWS API requests"): HMAC-SHA256 over the
//! request's canonical form, by a key that is derived for a day, a region and a service.

use ring::{digest, hmac};

/// Whose signature.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: Option<String>,
}

/// What is signed of a request.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Headers that are signed, by their names in lower case and in order.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: &'a str,
}

/// The value of the `authorization` header.
pub(super) fn authorization(request: &Signed<'_>, credentials: &Credentials) -> String {
    let day = request.time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let body = hex(digest::digest(&digest::SHA256, request.body).as_ref());
    let canonical = format!("{}\n{}\n\n{headers}\n{names}\n{body}", request.method, request.path);
    let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{canonical}", request.time);
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut key = sign(format!("AWS4{}", credentials.secret_key).as_bytes(), day);
    for part in [request.region, request.service, "aws4_request"] {
        key = sign(key.as_ref(), part);
    }
    let signature = hex(sign(key.as_ref(), &text).as_ref());
    let whose = format!("{}/{scope}", credentials.access_key);
    format!("AWS4-HMAC-SHA256 Credential={whose}, SignedHeaders={names}, Signature={signature}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Signed, authorization};

    #[test]
    fn the_signature_is_that_of_amazons_test_suite() {
        // `get-vanilla` of the published suite.
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
        };
        let request = Signed {
            method: "GET",
            path: "/",
            headers: &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")],
            body: b"",
            region: "us-east-1",
            service: "service",
            time: "20150830T123600Z",
        };
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                        SignedHeaders=host;x-amz-date, \
                        Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(authorization(&request, &credentials), expected);
    }
}
