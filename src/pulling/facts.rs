//! What a source tells about a model, as the registry keeps it. Pure.

use std::collections::BTreeMap;

use hanok_registry::{
    GitCommit, Signature, TensorSignature, TrainingData, VersionFacts, is_address, is_text, is_value,
};
use hanok_sources::{ModelSignature, SignatureTensor, holds_secret_parameter};

/// Longest value of a tag, in bytes: descriptions may be any length.
const LONGEST_TAG: usize = 4_096;
/// Longest name of a tag, and of other short texts.
const LONGEST_NAME: usize = 512;

/// Facts of a version from the free text that its source tells, by the keys of `hanok-sources`: `metric.NAME`,
/// `git.commit`, `git.remote`, `dataset.NAME.source`, `dataset.NAME.digest`; all others become tags.
///
/// What a stranger wrote must not keep a version from being registered: what breaks a rule of the registry is left out, and so
/// is what quotes a signed link, which would be on record, and shown, for as long as the version is.
pub(super) fn facts(metadata: &BTreeMap<String, String>, signature: Option<&ModelSignature>) -> VersionFacts {
    let told = metadata.iter().filter(|(_, value)| !holds_secret_parameter(value));
    let metadata: &BTreeMap<String, String> = &told.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut facts = VersionFacts { signature: signature.and_then(known), ..VersionFacts::default() };
    let mut git = None;
    for (key, value) in metadata.iter().filter(|(key, _)| is_name(key)) {
        if let Some(name) = key.strip_prefix("metric.") {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            if let Some(number) = number.filter(|_| is_name(name)) {
                facts.metrics.insert(name.to_owned(), number);
            }
        } else if key == "git.commit" {
            git = Some(value.clone()).filter(|commit| is_commit(commit));
        } else if key != "git.remote" && value.len() <= LONGEST_TAG && may_be_told(key, value) {
            facts.tags.insert(key.clone(), value.clone());
        }
    }
    let remote = metadata.get("git.remote").filter(|remote| is_name(remote) && is_address(remote)).cloned();
    facts.git = git.map(|commit| GitCommit { commit, remote });
    facts.training_data = training_data(metadata);
    facts
}

fn training_data(metadata: &BTreeMap<String, String>) -> Option<TrainingData> {
    let source = |key: &&String| key.starts_with("dataset.") && key.ends_with(".source");
    let key = metadata.keys().find(source)?;
    let reference = metadata[key].clone();
    let name = key.strip_suffix("source")?;
    let digest = metadata.get(&format!("{name}digest")).filter(|digest| is_name(digest)).cloned();
    (is_name(&reference) && is_address(&reference)).then_some(TrainingData { reference, digest })
}

/// `None` where a tensor's type has no name in the registry.
fn known(signature: &ModelSignature) -> Option<Signature> {
    let side = |tensors: &[SignatureTensor]| tensors.iter().map(tensor).collect::<Option<Vec<_>>>();
    Some(Signature { inputs: side(&signature.inputs)?, outputs: side(&signature.outputs)? })
}

fn tensor(tensor: &SignatureTensor) -> Option<TensorSignature> {
    let data_type = match tensor.data_type.strip_prefix("TYPE_")? {
        "STRING" => "BYTES",
        other => other,
    };
    let named = is_name(&tensor.name) && tensor.dims.len() <= 16;
    named.then(|| TensorSignature {
        name: tensor.name.clone(),
        data_type: data_type.to_owned(),
        shape: tensor.dims.clone(),
    })
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where data lies may hold a password.
fn may_be_told(key: &str, value: &str) -> bool {
    is_value(value) && (!key.starts_with("dataset.") || is_address(value))
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && is_text(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_the_registry_knows_is_told_and_the_rest_is_tags() {
        let commit = "a".repeat(40);
        let metadata = [
            ("metric.auc", "0.91"),
            ("metric.loss", "NaN"),
            ("git.commit", commit.as_str()),
            ("git.remote", "https://example.com/training.git"),
            ("dataset.flights.source", "s3://flights/2013.parquet"),
            ("dataset.flights.digest", "a552dd8d"),
            ("dataset.private.source", "https://ann:secret@example.com/x"),
            ("dataset.signed.source", r#"{"url": "https://b.example/x?X-Amz-Signature=secret"}"#),
            ("tag.link", "https://b.example/x?sv=1&sig=secret"),
            ("mlflow.version", "7"),
            ("tag.a\nb", "x"),
            ("tag.lines", "one\ntwo"),
            ("tag.escape", "\u{1b}[2K"),
            ("tag.turned", "\u{202e}x"),
        ];
        let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let tensor = |data_type, name: &str| SignatureTensor { name: name.to_owned(), data_type, dims: vec![-1, 16] };
        let signature =
            ModelSignature { inputs: vec![tensor("TYPE_STRING", "x")], outputs: vec![tensor("TYPE_FP32", "y")] };
        let facts = facts(&metadata, Some(&signature));
        assert_eq!(facts.metrics, [("auc".to_owned(), 0.91)].into());
        assert_eq!(facts.git.unwrap().commit, commit);
        assert_eq!(facts.training_data.unwrap().digest.as_deref(), Some("a552dd8d"));
        assert_eq!(facts.tags.get("mlflow.version").map(String::as_str), Some("7"));
        let tags: Vec<&str> = facts.tags.keys().map(String::as_str).collect();
        assert_eq!(tags, ["dataset.flights.digest", "dataset.flights.source", "mlflow.version", "tag.lines"]);
        assert_eq!(facts.signature.unwrap().inputs[0].data_type, "BYTES");
    }
}
