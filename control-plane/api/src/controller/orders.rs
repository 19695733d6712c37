//! What a person orders of a rollout: a decision like any other, durable before it acts.

use hanok_rollout::UnixMillis;
use hanok_rollout::rollout::{Command, command};
use serde_json::{Value, json};

use super::error::ControlError;
use super::judge::{CheckedPlan, StoredBody};
use super::link::Link;
use super::state::Controller;
use crate::declared::ResourceKind;

impl Controller {
    /// Carries out an order on the rollout `name`.
    pub(super) async fn order(&mut self, name: &str, order: Command, author: &str) -> Result<Value, ControlError> {
        self.ready_to_change().await?;
        if self.traffic.held && matches!(order, Command::Start | Command::Resume | Command::Promote) {
            let reason =
                "traffic is held at the last good table since the kill switch; apply or roll back resources first";
            return Err(ControlError::Refused(reason.to_owned()));
        }
        if order == Command::Start && !self.links.iter().all(Link::is_known) {
            let reason =
                "what runtimes recorded before is still being read, and is no evidence; start it again in a moment";
            return Err(ControlError::Refused(reason.to_owned()));
        }
        let key = (ResourceKind::Rollout, name.to_owned());
        let now = UnixMillis(self.now());
        let not_found = || ControlError::NotFound { what: "rollout", name: name.to_owned() };
        let judge = self.judges.get_mut(&key).ok_or_else(not_found)?;
        let (StoredBody::Rollout { state, .. }, CheckedPlan::Rollout(plan)) = (&mut judge.stored.body, &judge.plan)
        else {
            return Err(not_found());
        };
        let decision =
            command(plan, state, order, now).map_err(|refused| ControlError::Refused(refused.to_string()))?;
        self.decided(&key, std::slice::from_ref(&decision), Some(author)).await?;
        self.push_tables().await;
        Ok(json!({ "id": decision.id, "phase": decision.phase, "candidate_share": decision.share_after }))
    }
}
