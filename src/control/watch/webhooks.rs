//! Webhooks that make watches look at once, and the place of declarations with them. What they claim is not believed: they
//! are a reason to look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hanok_api::{WebhookReceiver, WebhookRefusal};
use hanok_sources::{Secret, WebhookSender, verify_webhook};
use http::HeaderMap;
use tokio::sync::Notify;

use crate::bounded_text::{self, LARGEST_SETTINGS};
use crate::commands::error::CommandError;
use crate::settings::WatchFlags;

/// Checks webhooks and nudges the watches.
#[derive(Debug)]
pub(crate) struct Webhooks {
    secrets: BTreeMap<String, (WebhookSender, Secret)>,
    nudges: Vec<Arc<Notify>>,
}

impl Webhooks {
    /// Reads the secrets that the flags name.
    pub(crate) fn read(flags: &WatchFlags, declared: bool) -> Result<Self, CommandError> {
        if !(flags.webhook_secret_files.is_empty() || flags.is_given() || declared) {
            return Err(CommandError::input(
                "--webhook-secret-file: nothing here looks anywhere; give --watch or --declared",
            ));
        }
        let mut secrets = BTreeMap::new();
        for (sender, path) in &flags.webhook_secret_files {
            let refused =
                |reason: String| CommandError::input(format!("--webhook-secret-file: `{}`: {reason}", path.display()));
            let text = bounded_text::read(path, LARGEST_SETTINGS)
                .map_err(|error| refused(format!("cannot be read: {error}")))?;
            let secret = text.trim_end_matches(['\r', '\n']);
            if secret.len() < 16 {
                return Err(refused(format!("expected a secret of 16 characters at least, got `{}`", secret.len())));
            }
            secrets.insert(sender.name().to_owned(), (sender.sender(), Secret::new(secret.to_owned())));
        }
        Ok(Self { secrets, nudges: flags.watched.iter().map(|_| Arc::new(Notify::new())).collect() })
    }

    /// What nudges the watches, in the order of the flags.
    pub(crate) fn nudges(&self) -> &[Arc<Notify>] {
        &self.nudges
    }
}

impl WebhookReceiver for Webhooks {
    fn receive(&self, sender: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), WebhookRefusal> {
        let (kind, secret) = self.secrets.get(sender).ok_or(WebhookRefusal::UnknownSender)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let delivery = verify_webhook(*kind, secret, headers, body, now)
            .map_err(|error| WebhookRefusal::Signature(error.message().to_owned()))?;
        tracing::info!(sender, event = delivery.event, id = delivery.id, "a webhook says that something moved");
        self.nudges.iter().for_each(|nudge| nudge.notify_one());
        Ok(())
    }
}
