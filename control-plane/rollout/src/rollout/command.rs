//! What a person may order, and when. A command is a decision like any other: numbered, with its evidence.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::decision::{Action, Decision, Reason};
use super::state::{Phase, RolloutState};
use super::step::{PlanMismatch, check_plan, decide};
use super::validated_plan::ValidatedPlan;
use crate::UnixMillis;

/// An order of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Begin the first step. From pending.
    Start,
    /// Stop the progress at the present weight; evidence still rolls back. From running.
    Pause,
    /// Go on. From paused.
    Resume,
    /// Promote without waiting for proof. From running, paused, inconclusive.
    Promote,
    /// End with no traffic for the candidate. From every phase that isn't over.
    Abort,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandRefused {
    /// The phase doesn't allow it.
    #[error("`{}` is not possible: the rollout is {}", word(*command), phase.name().replace('_', " "))]
    WrongPhase {
        /// The command.
        command: Command,
        /// The phase.
        phase: Phase,
    },
    /// The plan isn't the state's own.
    #[error(transparent)]
    PlanMismatch(#[from] PlanMismatch),
}

fn word(command: Command) -> &'static str {
    match command {
        Command::Start => "start",
        Command::Pause => "pause",
        Command::Resume => "resume",
        Command::Promote => "promote",
        Command::Abort => "abort",
    }
}

/// Carries out `order` at `now`.
///
/// # Errors
/// [`CommandRefused`]; nothing has changed then.
pub fn command(
    plan: &ValidatedPlan,
    state: &mut RolloutState,
    order: Command,
    now: UnixMillis,
) -> Result<Decision, CommandRefused> {
    check_plan(plan, state)?;
    let (action, phase) = match (order, state.phase) {
        (Command::Start, Phase::Pending) => {
            state.started_at = Some(now);
            (Action::Start, Phase::Running { step: 0 })
        }
        (Command::Pause, Phase::Running { step }) => {
            state.paused_at = Some(now);
            (Action::Pause, Phase::Paused { step })
        }
        (Command::Resume, Phase::Paused { step }) => {
            let pausing = state.paused_at.take().map_or(0, |paused_at| now.since(paused_at));
            state.paused_milliseconds = state.paused_milliseconds.saturating_add(pausing);
            (Action::Resume, Phase::Running { step })
        }
        (Command::Promote, Phase::Running { .. } | Phase::Paused { .. } | Phase::Inconclusive { .. }) => {
            (Action::Promote, Phase::Promoted)
        }
        (Command::Abort, phase) if !phase.is_over() => (Action::Abort, Phase::Aborted),
        (command, phase) => return Err(CommandRefused::WrongPhase { command, phase }),
    };
    Ok(decide(plan, state, now, action, Reason::Command, phase))
}
