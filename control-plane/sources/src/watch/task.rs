//! The thin half of a watch: asks, tells, waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::{Seen, WatchPlan, WatchState};
use crate::{SourceReference, Sources};

use super::WatchEvent;

/// Shortest pause between two questions, so that a flood of webhooks is no flood of questions.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Watches `reference` until the receiver of `events` is gone, or the future is dropped.
///
/// Asks at once, then by `plan`, and soon after each `nudge` (a verified webhook). `known` is what the owner acted on
/// last. Events come in order, each at least once: the owner remembers `to` when it has acted, and passes it when it
/// starts the watch again. A full channel makes the watch wait, not forget.
pub async fn watch(
    sources: Sources,
    reference: SourceReference,
    plan: WatchPlan,
    known: Option<String>,
    nudge: Arc<Notify>,
    events: mpsc::Sender<WatchEvent>,
) {
    let mut state = WatchState::new(known);
    loop {
        let seen = tokio::select! {
            answer = sources.current(&reference) => Seen::from(answer),
            () = events.closed() => return,
        };
        let (told, next, pause) = state.after(seen, &plan);
        for event in told {
            if events.send(event).await.is_err() {
                return;
            }
        }
        state = next;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = nudge.notified() => tokio::time::sleep(SHORTEST_PAUSE.min(pause)).await,
            () = events.closed() => return,
        }
    }
}
