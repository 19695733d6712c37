//! Webhooks on the admin port: admitted by what the receiver says, never by the port's token, and nothing else with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hanok_api::{AdminSettings, ControlPlane, ControlSettings, WebhookReceiver, WebhookRefusal};
use hanok_state::{StateStore, StoreSettings};
use http::HeaderMap;

use crate::http_client::send;

/// Takes what `sender` sends with the right word in a header, and counts it.
#[derive(Debug, Default)]
pub(crate) struct WordReceiver {
    taken: AtomicUsize,
}

impl WebhookReceiver for WordReceiver {
    fn receive(&self, sender: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), WebhookRefusal> {
        if sender != "sender" {
            return Err(WebhookRefusal::UnknownSender);
        }
        if headers.get("x-word").is_none_or(|word| word != "open sesame") || body.is_empty() {
            return Err(WebhookRefusal::Signature("the word is wrong".to_owned()));
        }
        self.taken.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_admits_and_the_token_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = StateStore::open_sqlite(&folder.path().join("state.db"), StoreSettings::default()).unwrap();
    let receiver = Arc::new(WordReceiver::default());
    let token = "a token of this port";
    let settings = ControlSettings {
        admin: AdminSettings { token: Some(token.to_owned()), ..AdminSettings::default() },
        webhooks: Some(Arc::clone(&receiver) as Arc<dyn WebhookReceiver>),
        ..ControlSettings::default()
    };
    let plane = ControlPlane::start(settings, Vec::new(), store).await.unwrap();
    let address = plane.address();
    let calls = tokio::task::spawn_blocking(move || {
        let word = ("x-word", "open sesame");
        let bearer = format!("Bearer {token}");
        let large = "x".repeat((1 << 20) + 1);
        for (method, path, headers, body, status) in [
            ("POST", "/v1/webhooks/sender", vec![word], "{}", 200),
            ("POST", "/v1/webhooks/sender", vec![("x-word", "guess")], "{}", 401),
            ("POST", "/v1/webhooks/sender", vec![("authorization", bearer.as_str())], "{}", 401),
            ("POST", "/v1/webhooks/nobody", vec![word], "{}", 404),
            ("POST", "/v1/webhooks/sender/more", vec![word], "{}", 404),
            ("POST", "/v1/webhooks/sender?x=1", vec![word], "{}", 400),
            ("POST", "/v1/webhooks/sender", vec![word], large.as_str(), 413),
            ("GET", "/v1/webhooks/sender", vec![word], "", 401),
            ("POST", "/v1/traffic/kill-switch", vec![word], "", 401),
        ] {
            let answer = send(address, method, path, &headers, body).unwrap();
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }
    });
    calls.await.unwrap();
    assert_eq!(receiver.taken.load(Ordering::SeqCst), 1);
    plane.stop().await;
}
