//! `hanok rollout` and `hanok traffic`: look at what a control plane decides, explain it, and step in.

use std::io::Write as _;
use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::apply::client;
use super::error::CommandError;
use super::text_table::TextTable;
use crate::client::AdminCall;
use crate::settings::AdminFlags;

/// Arguments of `hanok rollout`.
#[derive(Debug, clap::Args)]
pub(crate) struct RolloutArguments {
    /// What to do; without it, the rollouts are listed
    #[command(subcommand)]
    action: Option<RolloutAction>,
    #[command(flatten)]
    admin: AdminFlags,
}

#[derive(Debug, clap::Subcommand)]
enum RolloutAction {
    /// List the rollouts with phase and weight
    List,
    /// Show one with its evidence, as JSON
    Show {
        /// The rollout's name
        name: String,
    },
    /// Tell every decision with the evidence that it was made on
    Explain {
        /// The rollout's name
        name: String,
        /// Tell it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Let the weight where it is; evidence is still collected, and still rolls back
    Pause {
        /// The rollout's name
        name: String,
    },
    /// Go on
    Resume {
        /// The rollout's name
        name: String,
    },
    /// End it: all traffic to the baseline
    Abort {
        /// The rollout's name
        name: String,
    },
    /// End it: all traffic to the candidate, whatever the evidence says
    Promote {
        /// The rollout's name
        name: String,
    },
}

/// Arguments of `hanok traffic`.
#[derive(Debug, clap::Args)]
pub(crate) struct TrafficArguments {
    /// What to do; without it, the table is shown
    #[command(subcommand)]
    action: Option<TrafficAction>,
    #[command(flatten)]
    admin: AdminFlags,
}

#[derive(Debug, clap::Subcommand)]
enum TrafficAction {
    /// Show the table in force, as JSON
    Show,
    /// Put the last good table back in force at once, on every runtime
    KillSwitch,
}

/// Runs `hanok rollout`.
pub(crate) async fn run(arguments: RolloutArguments) -> Result<ExitCode, CommandError> {
    let client = client(&arguments.admin)?;
    let mut out = std::io::stdout().lock();
    let (name, verb) = match arguments.action.unwrap_or(RolloutAction::List) {
        RolloutAction::List => {
            let answer = client.json(AdminCall::get("/v1/rollouts".to_owned())).await?;
            write!(out, "{}", table_of(&answer))?;
            return Ok(ExitCode::SUCCESS);
        }
        RolloutAction::Show { name } => {
            let answer = client.json(AdminCall::get(format!("/v1/rollouts/{}", segment(&name)))).await?;
            writeln!(out, "{answer:#}")?;
            return Ok(ExitCode::SUCCESS);
        }
        RolloutAction::Explain { name, json } => {
            let mut call = AdminCall::get(format!("/v1/rollouts/{}/explain", segment(&name)));
            if json {
                writeln!(out, "{:#}", client.json(call).await?)?;
            } else {
                call.headers.push(("accept", "text/plain".to_owned()));
                writeln!(out, "{}", client.text(call).await?.trim_end())?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        RolloutAction::Pause { name } => (name, "pause"),
        RolloutAction::Resume { name } => (name, "resume"),
        RolloutAction::Abort { name } => (name, "abort"),
        RolloutAction::Promote { name } => (name, "promote"),
    };
    let answer = client.json(AdminCall::post(format!("/v1/rollouts/{}/{verb}", segment(&name)))).await?;
    writeln!(out, "{answer:#}")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `hanok traffic`.
pub(crate) async fn run_traffic(arguments: TrafficArguments) -> Result<ExitCode, CommandError> {
    let client = client(&arguments.admin)?;
    let call = match arguments.action.unwrap_or(TrafficAction::Show) {
        TrafficAction::Show => AdminCall::get("/v1/traffic".to_owned()),
        TrafficAction::KillSwitch => {
            AdminCall { method: Method::POST, ..AdminCall::get("/v1/traffic/kill-switch".to_owned()) }
        }
    };
    let answer = client.json(call).await?;
    writeln!(std::io::stdout().lock(), "{answer:#}")?;
    Ok(ExitCode::SUCCESS)
}

/// A name as a segment of a path.
fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn table_of(answer: &Value) -> String {
    let rollouts = answer.get("rollouts").unwrap_or(answer).as_array().cloned().unwrap_or_default();
    if rollouts.is_empty() {
        return "no rollouts: declare one and `hanok apply` it\n".to_owned();
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Object(object) if object.len() == 1 => object.keys().cloned().collect(),
        other => other.to_string(),
    };
    let mut table = TextTable::new(&["rollout", "model", "phase", "candidate's share"]);
    for rollout in &rollouts {
        let share = rollout["candidate_share_basis_points"].as_f64().map(|points| format!("{} %", points / 100.0));
        table.row(vec![
            text(&rollout["name"]),
            text(&rollout["model"]),
            text(&rollout["phase"]),
            share.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment() {
        assert_eq!(segment("flight-delay@3/../x y"), "flight-delay%403%2F..%2Fx%20y");
    }
}
