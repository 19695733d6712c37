//! Pulls one reference to a folder and says what came, how fast: for trying a server by hand, and for measuring.
//!
//! `cargo run --release -p hanok-sources --example pull -- REFERENCE DESTINATION [ALLOWED PLACE...]`; credentials come from
//! the environment, and from the file that NETRC names.

#![allow(clippy::print_stdout, reason = "this is a measurement")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use hanok_sources::{Credentials, SourceError, SourceReference, SourceSettings, Sources};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, destination, allowed @ ..] = arguments.as_slice() else {
        println!("usage: pull REFERENCE DESTINATION [ALLOWED PLACE...]");
        return ExitCode::FAILURE;
    };
    match pull(reference, Path::new(destination), allowed).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}\n{}", error.operator_detail().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

async fn pull(reference: &str, destination: &Path, allowed: &[String]) -> Result<(), SourceError> {
    let reference: SourceReference = reference.parse()?;
    let netrc = std::env::var_os("NETRC").map(PathBuf::from);
    let settings = SourceSettings {
        allowed: allowed.iter().map(|place| place.parse()).collect::<Result<_, _>>()?,
        credentials: Credentials::read(|name| std::env::var(name).ok(), netrc.as_deref())?,
        ..SourceSettings::default()
    };
    let sources = Sources::new(settings)?;
    let begin = Instant::now();
    let resolved = sources.resolve(&reference).await?;
    println!("{} ({:?})", resolved.pinned, begin.elapsed());
    println!("revision {}", resolved.revision.text);
    for (key, value) in &resolved.metadata {
        println!("{key} = {value}");
    }
    let begin = Instant::now();
    let fetched = sources.fetch(&resolved, destination, None).await?;
    let (seconds, bytes) = (begin.elapsed().as_secs_f64(), fetched.files.iter().map(|file| file.bytes).sum::<u64>());
    for file in &fetched.files {
        println!("{}  {} ({} bytes)", file.sha256, file.path, file.bytes);
    }
    #[allow(clippy::cast_precision_loss, reason = "a figure to read")]
    let rate = bytes as f64 / seconds / 1e6;
    println!("{bytes} bytes in {seconds:.3} s, {rate:.0} MB/s; folder {}", fetched.digest);
    if let Some(serving) = resolved.serving {
        println!("{}", serving.config);
    }
    Ok(())
}
