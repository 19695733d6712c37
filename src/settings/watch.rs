//! What `serve` follows: references whose versions are brought into service when they move.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hanok_registry::check_name;
use hanok_sources::{SourceError, SourceReference, WebhookSender};

use super::{NotRepeated, SourceFlags};

/// What is followed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Watch")]
pub(crate) struct WatchFlags {
    /// Follow a reference: when it names something else, fetch that, check its digests, load it, warm it, and begin a rollout
    /// from the version that serves. SOURCE as for `hanok pull`, such as mlflow://flights@champion=flight_delay; may be given
    /// several times
    #[arg(
        long = "watch",
        value_name = "SOURCE=MODEL",
        value_parser = NotRepeated(watched),
        requires = "admin_port",
        conflicts_with_all = ["locked", "steered"]
    )]
    pub(crate) watched: Vec<Watched>,
    /// Milliseconds between two looks at a watched reference
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..))]
    pub(crate) watch_interval_ms: u64,
    /// File with the Rollout, and if wanted the Traffic, by which new versions come into service: as for `hanok apply`; arms,
    /// baseline and candidate are filled in. Default: 10 % until 100 requests, 50 % until 500, judged by errors
    #[arg(long, value_name = "FILE", requires = "watched")]
    pub(crate) watch_plan: Option<PathBuf>,
    /// File with the secret of a sender of webhooks, which make watches and --declared look at once: mlflow, github, gitlab,
    /// bitbucket or gitea; a secret has 16 characters at least. They are taken at /v1/webhooks/SENDER on the admin port, by their signature; may be given several
    /// times
    #[arg(
        long = "webhook-secret-file",
        value_name = "SENDER=FILE",
        value_parser = secret_file,
        requires = "admin_port",
        conflicts_with = "steered"
    )]
    pub(crate) webhook_secret_files: Vec<(Sender, PathBuf)>,
    #[command(flatten)]
    pub(crate) sources: SourceFlags,
}

/// One `--watch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// What is followed.
    pub(crate) reference: SourceReference,
    /// The model that it becomes.
    pub(crate) model: String,
}

/// Who sends webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender(&'static str, WebhookSender);

/// Every sender, by the name in the path of its webhooks.
const SENDERS: [Sender; 5] = [
    Sender("mlflow", WebhookSender::Mlflow),
    Sender("github", WebhookSender::GitHub),
    Sender("gitlab", WebhookSender::GitLab),
    Sender("bitbucket", WebhookSender::Bitbucket),
    Sender("gitea", WebhookSender::Gitea),
];

impl Sender {
    /// Its name in paths.
    pub(crate) const fn name(self) -> &'static str {
        self.0
    }

    /// How its webhooks are checked.
    pub(crate) const fn sender(self) -> WebhookSender {
        self.1
    }
}

impl WatchFlags {
    /// Whether anything is followed.
    pub(crate) fn is_given(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Pause between two looks.
    pub(crate) const fn interval(&self) -> Duration {
        Duration::from_millis(self.watch_interval_ms)
    }
}

/// `SOURCE=MODEL`; the source may have `=` in it.
fn watched(text: &str) -> Result<Watched, String> {
    let (source, model) = text.rsplit_once('=').ok_or("expected SOURCE=MODEL, got no `=`")?;
    let reference = source.parse().map_err(|error: SourceError| format!("{}; {}", error.message(), error.action()))?;
    check_name("model", model).map_err(|error| error.to_string())?;
    Ok(Watched { reference, model: model.to_owned() })
}

/// `SENDER=FILE`.
fn secret_file(text: &str) -> Result<(Sender, PathBuf), String> {
    let names = SENDERS.map(Sender::name).join(", ");
    let (name, file) = text.split_once('=').ok_or_else(|| format!("expected SENDER=FILE, got `{text}`"))?;
    let sender = SENDERS.into_iter().find(|sender| sender.name() == name);
    Ok((sender.ok_or_else(|| format!("expected one of {names}, got `{name}`"))?, PathBuf::from(file)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_watch_names_source_and_model() {
        let one = watched("mlflow://flights@champion=flight_delay").unwrap();
        assert_eq!(
            (one.reference.to_string().as_str(), one.model.as_str()),
            ("mlflow://flights@champion", "flight_delay")
        );
        assert_eq!(
            watched("https://example.com/m.onnx?v=2=m").unwrap().reference.to_string(),
            "https://example.com/m.onnx?v=2"
        );
        for bad in
            ["mlflow://flights@champion", "=m", "mlflow://flights@champion=", "mlflow://flights@champion=../m", "x=m"]
        {
            assert!(watched(bad).is_err(), "{bad}");
        }
    }
}
