//! One check per sender, over headers and raw body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::signature::{is_hexadecimal_hmac, is_standard_webhook, same_token};
use crate::{Secret, SourceError, SourceErrorCode};

/// Oldest and most future time stamp that is taken, in seconds: what Standard Webhooks recommends.
const TOLERANCE_SECONDS: u64 = 300;

/// Who sends webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WebhookSender {
    /// MLflow: `X-MLflow-Signature`, `X-MLflow-Delivery-Id`, `X-MLflow-Timestamp`.
    Mlflow,
    /// GitHub: `X-Hub-Signature-256`.
    GitHub,
    /// GitLab: `webhook-signature` where a signing token is set, else the plain `X-Gitlab-Token`.
    GitLab,
    /// Bitbucket: `X-Hub-Signature`.
    Bitbucket,
    /// Gitea and Forgejo: `X-Gitea-Signature`.
    Gitea,
}

/// A verified delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The sender's id of it; the same when it is delivered again.
    pub id: Option<String>,
    /// Kind of event, in the sender's words: `push`, `Push Hook`, `repo:push`, `model_version_alias.created`.
    pub event: Option<String>,
}

/// Checks that `sender`, who shares `secret`, sent `body` with `headers`. `now` is in Unix seconds.
///
/// # Errors
/// `SignatureRefused`, the same text whatever was wrong with the signature itself; `InvalidSetting` for an empty secret,
/// which everybody could sign with.
pub fn verify_webhook(
    sender: WebhookSender,
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: u64,
) -> Result<Delivery, SourceError> {
    let key = secret.expose().as_bytes();
    if key.is_empty() {
        return Err(SourceError::new(
            SourceErrorCode::InvalidSetting,
            "the secret of the webhook is empty",
            "set the same long random secret here and at the sender",
        ));
    }
    let header = |name: &str| single(headers, name);
    let text = |name: &str| header(name).map(str::to_owned);
    let (genuine, id, event) = match sender {
        WebhookSender::Mlflow => {
            let (id, timestamp) = (header("x-mlflow-delivery-id"), header("x-mlflow-timestamp"));
            let genuine = standard(key, id, timestamp, header("x-mlflow-signature"), body);
            fresh(genuine, timestamp, now)?;
            (genuine, id.map(str::to_owned), if genuine { mlflow_event(body) } else { None })
        }
        WebhookSender::GitHub => (
            header("x-hub-signature-256").is_some_and(|text| is_hexadecimal_hmac(key, body, "sha256=", text)),
            text("x-github-delivery"),
            text("x-github-event"),
        ),
        WebhookSender::GitLab => {
            let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
            let genuine = match decoded_secret(secret.expose()) {
                // With a signing token the plain one proves nothing.
                Some(key) => {
                    let genuine = standard(&key, id, timestamp, header("webhook-signature"), body);
                    fresh(genuine, timestamp, now)?;
                    genuine
                }
                None => header("x-gitlab-token").is_some_and(|token| same_token(key, token.as_bytes())),
            };
            (genuine, text("webhook-id").or_else(|| text("x-gitlab-event-uuid")), text("x-gitlab-event"))
        }
        WebhookSender::Bitbucket => (
            header("x-hub-signature").is_some_and(|text| is_hexadecimal_hmac(key, body, "sha256=", text)),
            text("x-request-uuid"),
            text("x-event-key"),
        ),
        WebhookSender::Gitea => (
            header("x-gitea-signature").is_some_and(|text| is_hexadecimal_hmac(key, body, "", text)),
            text("x-gitea-delivery"),
            text("x-gitea-event"),
        ),
    };
    if genuine {
        return Ok(Delivery { id, event });
    }
    Err(SourceError::new(
        SourceErrorCode::SignatureRefused,
        "the webhook's signature is missing or wrong",
        "set the same secret here and at the sender, and see that nothing between changes the body",
    ))
}

/// The one value of a header; two are as good as none.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn standard(key: &[u8], id: Option<&str>, timestamp: Option<&str>, signature: Option<&str>, body: &[u8]) -> bool {
    match (id, timestamp, signature) {
        (Some(id), Some(timestamp), Some(signature)) => is_standard_webhook(key, id, timestamp, body, signature),
        _ => false,
    }
}

/// Refuses a genuine delivery that is too old to be the first: somebody may have kept it.
fn fresh(genuine: bool, timestamp: Option<&str>, now: u64) -> Result<(), SourceError> {
    let sent: Option<u64> = timestamp.and_then(|text| text.parse().ok());
    if !genuine || sent.is_some_and(|sent| sent.abs_diff(now) <= TOLERANCE_SECONDS) {
        return Ok(());
    }
    Err(SourceError::new(
        SourceErrorCode::SignatureRefused,
        format!("the webhook was signed more than {TOLERANCE_SECONDS} seconds from now"),
        "set the clocks of both machines; a delivery that was kept back is not taken",
    ))
}

/// The bytes of a `whsec_BASE64` signing token.
fn decoded_secret(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix("whsec_")?).ok()
}

/// `ENTITY.ACTION` of MLflow's body.
fn mlflow_event(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(format!("{}.{}", body["entity"].as_str()?, body["action"].as_str()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// The sender's own documents' examples: GitHub "Validating webhook deliveries", Bitbucket "Manage webhooks",
    /// Standard Webhooks 1.0; for MLflow what its own `_generate_hmac_signature` (3.17.2) gave.
    #[test]
    fn published_examples_are_genuine_and_nothing_near_them_is() {
        let mlflow_body = br#"{"entity": "model_version_alias", "action": "created", "timestamp": "2026-11-22T09:39:22", "data": {"name": "simple", "alias": "champion", "version": "1"}}"#;
        let shared = "It's a Secret to Everybody";
        for (sender, key, pairs, body, now, event) in [
            (
                WebhookSender::GitHub,
                shared,
                vec![
                    ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
                    ("X-GitHub-Event", "push"),
                ],
                b"Hello, World!".as_slice(),
                0,
                Some("push"),
            ),
            (
                WebhookSender::Bitbucket,
                shared,
                vec![
                    ("X-Hub-Signature", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"),
                    ("X-Event-Key", "repo:push"),
                ],
                b"Hello World!",
                0,
                Some("repo:push"),
            ),
            (
                WebhookSender::Gitea,
                shared,
                vec![("X-Gitea-Signature", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
                b"Hello, World!",
                0,
                None,
            ),
            (
                WebhookSender::GitLab,
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                vec![
                    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                    ("webhook-timestamp", "1614265330"),
                    ("webhook-signature", "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
                ],
                br#"{"test": 2432232314}"#,
                1_614_265_330 + 300,
                None,
            ),
            (
                WebhookSender::GitLab,
                "a plain token",
                vec![("X-Gitlab-Token", "a plain token"), ("X-Gitlab-Event", "Push Hook")],
                b"{}",
                0,
                Some("Push Hook"),
            ),
            (
                WebhookSender::Mlflow,
                "hook secret",
                vec![
                    ("X-MLflow-Delivery-Id", "0b6b2a6e-2f7e-4a8c-9d2c-1f1f1f1f1f1f"),
                    ("X-MLflow-Timestamp", "1795340362"),
                    ("X-MLflow-Signature", "v1,DOchk/awbvV+lae+8BNAZumjvlp60blCqphmJ4Rc+Q8="),
                ],
                mlflow_body,
                1_795_340_362 - 300,
                Some("model_version_alias.created"),
            ),
        ] {
            let signed = headers(&pairs);
            let check = |key: &str, headers: &HeaderMap, body: &[u8], now| {
                verify_webhook(sender, &secret(key), headers, body, now).map_err(|error| error.code())
            };
            let delivery = check(key, &signed, body, now).unwrap();
            assert_eq!(delivery.event.as_deref(), event);
            let refused = Err(SourceErrorCode::SignatureRefused);
            let token_only = pairs[0].0 == "X-Gitlab-Token";
            if !token_only {
                assert_eq!(check(key, &signed, &[body, b" "].concat(), now), refused, "{sender:?}");
            }
            assert_eq!(check(&format!("{key}x"), &signed, body, now), refused, "{sender:?}");
            assert_eq!(check(key, &HeaderMap::new(), body, now), refused, "{sender:?}");
            assert_eq!(check("", &signed, body, now), Err(SourceErrorCode::InvalidSetting));
            let proof = if pairs.len() == 3 { 2 } else { 0 };
            let mut doubled = pairs.clone();
            doubled.push(pairs[proof]);
            assert_eq!(check(key, &headers(&doubled), body, now), refused, "{sender:?}");
            for wrong in ["", "sha256=", "v1,", "v1,!!!", "sha256=00", "ß"] {
                let mut changed = pairs.clone();
                changed[proof].1 = wrong;
                assert_eq!(check(key, &headers(&changed), body, now), refused, "{sender:?} {wrong}");
            }
            if proof == 2 {
                assert_eq!(check(key, &signed, body, now + 601), refused, "{sender:?}: too old");
                assert_eq!(check(key, &signed, body, now - 601), refused, "{sender:?}: from the future");
                let mut changed = pairs.clone();
                changed[1].1 = "1795340363";
                assert_eq!(check(key, &headers(&changed), body, 1_795_340_363), refused);
            }
        }
    }

    #[test]
    fn with_a_signing_token_the_plain_one_proves_nothing() {
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let plain = headers(&[("X-Gitlab-Token", key)]);
        assert!(verify_webhook(WebhookSender::GitLab, &secret(key), &plain, b"{}", 0).is_err());
    }
}
