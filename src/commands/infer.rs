//! `hanok infer`: one inference from the command line, against any v2 server.
//!
//! The model's metadata decides data types and shapes; without inputs the contract is shown with a line to copy.

mod example;
mod show;

use std::io::Write as _;
use std::process::ExitCode;

use super::error::CommandError;
use super::models::contract_table;
use crate::client::{Client, InferenceCall, InputArgument, ModelContract, ServerAddress, ShapeArgument};

/// Arguments of `hanok infer`.
#[derive(Debug, clap::Args)]
pub(crate) struct InferArguments {
    /// The model's name.
    model: String,

    /// An input: NAME=JSON, NAME=@FILE.npy, NAME=@FILE.json, NAME=@FILE (raw bytes); NAME= may be left out for a model
    /// with one input. Repeat for more inputs; without any, the model's contract is shown.
    #[arg(long, short, value_name = "NAME=VALUE")]
    input: Vec<InputArgument>,

    /// All dimensions of an input whose shape is not clear from its value, such as image:1,3,224,224.
    #[arg(long, value_name = "NAME:DIMENSIONS")]
    shape: Vec<ShapeArgument>,

    /// The server: http://HOST:PORT or grpc://HOST:PORT.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    server: ServerAddress,

    /// The model's version; without it the server chooses.
    #[arg(long = "version", id = "model_version", value_name = "VERSION")]
    version: Option<String>,

    /// An output to ask for; repeat for more. Without it, all outputs.
    #[arg(long, short, value_name = "NAME")]
    output: Vec<String>,

    /// Ask for the best K classes of each output instead of its values.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    classification: Option<u32>,

    /// Values shown per output in the table.
    #[arg(long, value_name = "COUNT", default_value_t = 32, conflicts_with_all = ["raw", "json"])]
    limit: usize,

    /// Print a table (the default).
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    table: bool,

    /// Print JSON with every value.
    #[arg(long, conflicts_with = "raw")]
    json: bool,

    /// Write the bytes of the one output, in the protocol's binary encoding, and nothing else.
    #[arg(long)]
    raw: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: InferArguments) -> Result<ExitCode, CommandError> {
    let mut client = Client::new(&arguments.server)?;
    let named = arguments.input.iter().filter_map(InputArgument::name);
    let contract = client.contract_with(&arguments.model, arguments.version.as_deref(), named).await?;
    let mut out = std::io::stdout().lock();
    if arguments.input.is_empty() && !contract.inputs.is_empty() {
        let example = example::command_line(&contract, &arguments.server, arguments.version.as_deref());
        write!(out, "{}\nto infer:\n{example}", contract_table(&contract))?;
        return Ok(ExitCode::SUCCESS);
    }
    let call = call(&arguments, &contract)?;
    let started = std::time::Instant::now();
    let answer = client.infer(&call).await?;
    let elapsed = started.elapsed();
    if arguments.raw {
        let [output] = &answer.outputs[..] else {
            let names: Vec<&str> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
            return Err(CommandError::input(format!(
                "--raw writes one output, the model gives {}: choose with --output, one of {}",
                names.len(),
                names.join(", ")
            )));
        };
        out.write_all(&output.data)?;
    } else if arguments.json {
        writeln!(out, "{}", show::answer_json(&answer))?;
    } else {
        write!(out, "{}", show::answer_table(&answer, elapsed, arguments.limit))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn call(arguments: &InferArguments, contract: &ModelContract) -> Result<InferenceCall, CommandError> {
    let inputs = arguments.input.iter().map(|input| input.tensor(contract, &arguments.shape));
    let inputs = inputs.collect::<Result<Vec<_>, String>>().map_err(CommandError::Input)?;
    for shape in &arguments.shape {
        if !contract.inputs.iter().any(|input| input.name == shape.name) {
            return Err(CommandError::input(format!(
                "--shape names the input `{}`, which the model lacks",
                shape.name
            )));
        }
    }
    let mut outputs = arguments.output.clone();
    if outputs.is_empty() && arguments.classification.is_some() {
        outputs = contract.outputs.iter().map(|output| output.name.clone()).collect();
    }
    Ok(InferenceCall {
        model: arguments.model.clone(),
        version: arguments.version.clone(),
        inputs,
        outputs,
        classification: arguments.classification,
        timeout: None,
    })
}
