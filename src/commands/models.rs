//! `hanok models`: what a server has, and loading or unloading it.
//!
//! Works against any v2 server with the repository extension; decides nothing, shows what the server says.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::error::CommandError;
use super::text_table::TextTable;
use crate::client::{Client, ClientError, IndexEntry, ModelContract, ServerAddress, TensorContract};

/// Arguments of `hanok models`.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArguments {
    /// What to do; without it, the models are listed.
    #[command(subcommand)]
    action: Option<Action>,

    /// The server: http://HOST:PORT or grpc://HOST:PORT.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    server: ServerAddress,

    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List every model of the repository with its state and the reason for it.
    List,
    /// Load a model, or load it again after its files changed (needs --model-control-mode=explicit on the server).
    Load {
        /// The model's name.
        model: String,
    },
    /// Unload a model (needs --model-control-mode=explicit on the server).
    Unload {
        /// The model's name.
        model: String,
        /// Unload the models that need this one, too.
        #[arg(long)]
        dependents: bool,
    },
    /// Show a model's inputs, outputs and configuration.
    Show {
        /// The model's name.
        model: String,
        /// The version; without it the server chooses.
        #[arg(long = "version", id = "model_version", value_name = "VERSION")]
        version: Option<String>,
    },
}

/// Runs the command.
pub(crate) async fn run(arguments: ModelsArguments) -> Result<ExitCode, CommandError> {
    let mut client = Client::new(&arguments.server)?;
    let mut out = std::io::stdout().lock();
    match arguments.action.unwrap_or(Action::List) {
        Action::List => {
            let index = client.index().await?;
            let text = if arguments.json { json_text(&index_json(&index)) } else { index_table(&index) };
            out.write_all(text.as_bytes())?;
        }
        Action::Load { model } => {
            client.load(&model).await.map_err(with_control_mode_remedy)?;
            report(&mut out, arguments.json, &model, "loaded")?;
        }
        Action::Unload { model, dependents } => {
            client.unload(&model, dependents).await.map_err(with_control_mode_remedy)?;
            report(&mut out, arguments.json, &model, "unloaded")?;
        }
        Action::Show { model, version } => {
            let contract = client.contract(&model, version.as_deref()).await?;
            // Servers other than Triton often have no configuration to show.
            let config = client.config(&model, version.as_deref()).await.ok();
            let config = config.as_ref();
            let text = if arguments.json { show_json(&contract, config) } else { show_text(&contract, config) };
            out.write_all(text.as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn report(out: &mut impl std::io::Write, json: bool, model: &str, done: &str) -> std::io::Result<()> {
    if json {
        out.write_all(json_text(&json!({"model": model, "done": done})).as_bytes())
    } else {
        writeln!(out, "{model} {done}")
    }
}

/// A server in another control mode refuses with 503 (W-72); Triton's text does not say how to change that.
fn with_control_mode_remedy(error: ClientError) -> ClientError {
    match error {
        ClientError::Refused { status, message }
            if (status == "503" || status == "Unavailable") && !message.contains("--model-control-mode") =>
        {
            let remedy = "start the server with --model-control-mode=explicit to load and unload by command";
            ClientError::Refused { status, message: format!("{message}; {remedy}") }
        }
        other => other,
    }
}

fn index_table(index: &[IndexEntry]) -> String {
    if index.is_empty() {
        return "the server has no models\n".to_owned();
    }
    let mut table = TextTable::new(&["model", ">version", "state", "reason"]);
    for entry in index {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        table.row([entry.name.clone(), dash(&entry.version), dash(&entry.state), entry.reason.clone()]);
    }
    table.to_string()
}

fn index_json(index: &[IndexEntry]) -> Value {
    index
        .iter()
        .map(
            |entry| json!({"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason}),
        )
        .collect()
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The contract as a table, also for `hanok infer` without inputs.
pub(crate) fn contract_table(contract: &ModelContract) -> String {
    let mut table = TextTable::new(&["", "name", "datatype", "shape"]);
    let mut side = |label: &str, tensors: &[TensorContract]| {
        for tensor in tensors {
            let shape = tensor.shape.to_string();
            table.row([label, &tensor.name, tensor.data_type.name(), &shape]);
        }
    };
    side("input", &contract.inputs);
    side("output", &contract.outputs);
    format!("{}{}\n\n{table}", contract.name, headline(contract))
}

fn headline(contract: &ModelContract) -> String {
    let mut text = String::new();
    if !contract.versions.is_empty() {
        text.push_str(&format!(", versions {}", contract.versions.join(", ")));
    }
    if !contract.platform.is_empty() {
        text.push_str(&format!(", {}", contract.platform));
    }
    text
}

fn show_text(contract: &ModelContract, config: Option<&Value>) -> String {
    let mut text = contract_table(contract);
    match config {
        Some(config) => text.push_str(&format!("\nconfiguration\n{config:#}\n")),
        None => text.push_str("\nthe server shows no configuration of this model\n"),
    }
    text
}

fn show_json(contract: &ModelContract, config: Option<&Value>) -> String {
    let side = |tensors: &[TensorContract]| -> Value {
        tensors
            .iter()
            .map(|tensor| {
                json!({"name": tensor.name, "datatype": tensor.data_type.name(), "shape": tensor.shape.to_vec()})
            })
            .collect()
    };
    json_text(&json!({
        "name": contract.name, "versions": contract.versions, "platform": contract.platform,
        "inputs": side(&contract.inputs), "outputs": side(&contract.outputs), "config": config,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_reads_as_a_table() {
        let entry = |name: &str, version: &str, state: &str, reason: &str| IndexEntry {
            name: name.into(),
            version: version.into(),
            state: state.into(),
            reason: reason.into(),
        };
        let index = [entry("digits", "1", "READY", ""), entry("new", "", "", "")];
        assert_eq!(index_table(&index), "model   version  state  reason\ndigits        1  READY\nnew           -  -\n");
        assert!(index_table(&[]).contains("no models"));
    }
}
