//! Webhooks of other systems: `POST /v1/webhooks/{sender}`. The signature admits, not the port's token, which those systems
//! cannot send. What a webhook claims is not believed: it is a reason to look.

use std::fmt::Debug;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::seldom::Seldom;
use crate::reconcile::DeclaredHandle;

/// Path of every webhook, before the sender's name.
pub(super) const PREFIX: &str = "/v1/webhooks/";

/// Largest body of a webhook: it is read before anybody knows who sent it.
pub(super) const LARGEST_BODY: usize = 1 << 20;

/// Refusals that are logged: one in this time, with the number of those that were not.
static REFUSALS: Seldom = Seldom::new(Duration::from_secs(10));
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Takes webhooks, once it has checked that they come from who they say.
pub trait WebhookReceiver: Send + Sync + Debug {
    /// Checks a delivery over its headers and its body as they came, and acts on it. Must not block.
    ///
    /// # Errors
    /// [`WebhookRefusal`]; then nothing was done.
    fn receive(&self, sender: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), WebhookRefusal>;
}

/// Why a webhook was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookRefusal {
    /// Nobody of that name is expected to send any.
    UnknownSender,
    /// The signature is missing, wrong or too old: what is wrong with it, for the sender's log.
    Signature(String),
}

/// Takes the delivery in `request`; the place of declarations, if there is one, is looked at then too.
pub(super) fn receive(
    receiver: &dyn WebhookReceiver,
    request: &AdminRequest,
    declared: Option<&DeclaredHandle>,
) -> Result<Answer, Problem> {
    receiver.receive(request.place(0), &request.headers, &request.body).map_err(|refusal| match refusal {
        WebhookRefusal::UnknownSender => Problem::not_found("no webhooks are expected from that sender"),
        WebhookRefusal::Signature(detail) => {
            // Anybody may send them: neither the log nor the disk under it is theirs to fill.
            if let Some(unsaid) = REFUSALS.due(STARTED.elapsed()) {
                tracing::warn!(sender = request.place(0), detail, unsaid, "a webhook was refused");
            }
            let action = "set the same secret at the sender and with --webhook-secret-file";
            Problem::new(StatusCode::UNAUTHORIZED, "signature-refused", detail, action)
        }
    })?;
    if let Some(declared) = declared {
        declared.look();
    }
    Ok(Answer::json(&json!({ "accepted": true })))
}
