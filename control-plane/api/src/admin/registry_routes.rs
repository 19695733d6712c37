//! Routes of the registry: what is on record, and the changes of what may change. Files do not travel here: versions are
//! registered where they lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanok_registry::{
    Actor, AliasExpectation, NewApproval, Registry, RegistryError, Stage, StageMove, StageRule, Verdict, VersionName,
    VersionReference, difference,
};
use hanok_state::{PAGE_RECORDS, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::ControlOffer;

/// What a route of the registry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RegistryOperation {
    ListModels,
    GetModel,
    ListVersions,
    GetVersion,
    GetAlias,
    SetAlias,
    RemoveAlias,
    SetStage,
    Approve,
    SetRule,
    Compare,
    ReadLog,
}

use RegistryOperation as Do;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AliasBody {
    version: u64,
    #[serde(default, deserialize_with = "given")]
    expected: Option<Option<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageBody {
    stage: Stage,
    expected: Option<Stage>,
    #[serde(default)]
    archive_others: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApprovalBody {
    stage: Stage,
    verdict: Verdict,
    #[serde(default)]
    checks: BTreeMap<String, bool>,
    note: Option<String>,
}

/// A member that is there, `null` or not.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(deserializer).map(Some)
}

/// What a call is, read from the request before anything blocks.
type Call = Box<dyn FnOnce(&Registry) -> Result<Value, RegistryError> + Send>;

pub(super) async fn answer(
    control: &ControlOffer,
    operation: RegistryOperation,
    request: &AdminRequest,
) -> Result<Answer, Problem> {
    let registry = control.registry.as_ref().ok_or_else(|| super::routes::not_offered("registry"))?;
    let actor = Actor::new(request.author()?, Timestamp::default().plus_millis(control.clock.now_millis()))?;
    let call = match operation {
        Do::ListModels
        | Do::GetModel
        | Do::ListVersions
        | Do::GetVersion
        | Do::GetAlias
        | Do::Compare
        | Do::ReadLog => read(operation, request)?,
        Do::SetAlias | Do::RemoveAlias | Do::SetStage | Do::Approve | Do::SetRule => change(operation, request, actor)?,
    };
    let registry = Arc::clone(registry);
    let done = tokio::task::spawn_blocking(move || call(&registry)).await;
    let value = done.map_err(|error| RegistryError::from(std::io::Error::other(error.to_string())))??;
    Ok(Answer::json(&value))
}

fn read(operation: RegistryOperation, request: &AdminRequest) -> Result<Call, Problem> {
    let known: &[&str] = match operation {
        Do::Compare => &["before", "after"],
        Do::ReadLog => &["model", "after", "limit"],
        _ => &[],
    };
    request.only_parameters(known)?;
    let model = request.place(0).to_owned();
    Ok(match operation {
        Do::ListModels => Box::new(|registry| Ok(json!({ "models": registry.models()? }))),
        Do::GetModel => Box::new(move |registry| Ok(json!(registry.model(&model)?))),
        Do::ListVersions => Box::new(move |registry| Ok(json!({ "versions": registry.versions(Some(&model))? }))),
        Do::Compare => {
            let (before, after) = (reference(request, "before")?, reference(request, "after")?);
            Box::new(move |registry| {
                let (before, after) = (registry.record(&before)?, registry.record(&after)?);
                let found = difference((&before.version, &before.manifest), (&after.version, &after.manifest));
                Ok(json!({ "before": before.version.name, "after": after.version.name, "difference": found }))
            })
        }
        Do::ReadLog => {
            let (model, after) = (request.text_parameter("model")?, request.number("after", 0)?);
            let limit = usize::try_from(request.number("limit", 100)?).unwrap_or(usize::MAX);
            if limit == 0 || limit > PAGE_RECORDS {
                return Err(Problem::bad_request(format!("limit: expected 1 to `{PAGE_RECORDS}`, got `{limit}`")));
            }
            Box::new(move |registry| Ok(json!({ "records": registry.log(model.as_deref(), after, limit)? })))
        }
        Do::GetAlias => {
            let meant: VersionReference = format!("{model}@{}", request.place(1)).parse()?;
            Box::new(move |registry| Ok(json!(registry.record(&meant)?)))
        }
        _ => {
            let meant = version(request)?;
            Box::new(move |registry| Ok(json!(registry.record(&meant)?)))
        }
    })
}

fn change(operation: RegistryOperation, request: &AdminRequest, actor: Actor) -> Result<Call, Problem> {
    let known: &[&str] = if operation == Do::RemoveAlias { &["expected"] } else { &[] };
    request.only_parameters(known)?;
    request.no_revision("say where an alias or a stage must be with `expected`")?;
    let model = request.place(0).to_owned();
    Ok(match operation {
        Do::SetStage => {
            let (meant, body) = (version(request)?, request.body_json::<StageBody>()?);
            let StageBody { stage: to, expected, archive_others } = body;
            let change = StageMove { to, expected, archive_others };
            Box::new(move |registry| Ok(json!(registry.promote(&meant, change, &actor)?)))
        }
        Do::Approve => {
            let (meant, body) = (version(request)?, request.body_json::<ApprovalBody>()?);
            let ApprovalBody { stage, verdict, checks, note } = body;
            let approval = NewApproval { stage, verdict, checks, note };
            Box::new(move |registry| {
                registry.approve(&meant, &approval, &actor)?;
                Ok(json!(registry.record(&meant)?))
            })
        }
        Do::SetRule => {
            let (stage, rule) = (request.place(1).parse::<Stage>()?, request.body_json::<StageRule>()?);
            Box::new(move |registry| Ok(json!(registry.set_rule(&model, stage, rule, &actor)?)))
        }
        _ => {
            let (alias, to, expected) = alias_change(operation, request)?;
            Box::new(move |registry| {
                let before = registry.set_alias(&model, &alias, to, expected, &actor)?;
                Ok(json!({ "model": model, "alias": alias, "before": before, "after": to }))
            })
        }
    })
}

/// Which alias, where to, and where it must point now.
fn alias_change(
    operation: RegistryOperation,
    request: &AdminRequest,
) -> Result<(String, Option<u64>, AliasExpectation), Problem> {
    let alias = request.place(1).to_owned();
    if operation == Do::RemoveAlias {
        let expected = match request.parameter("expected") {
            None => AliasExpectation::Anything,
            Some(_) => AliasExpectation::Version(request.number("expected", 0)?),
        };
        return Ok((alias, None, expected));
    }
    let body: AliasBody = request.body_json()?;
    let expected = match body.expected {
        None => AliasExpectation::Anything,
        Some(None) => AliasExpectation::Absent,
        Some(Some(version)) => AliasExpectation::Version(version),
    };
    Ok((alias, Some(body.version), expected))
}

/// The version that the path names by number.
fn version(request: &AdminRequest) -> Result<VersionReference, Problem> {
    let number = request.place(1);
    let number = number
        .parse()
        .map_err(|_| Problem::bad_request(format!("version: expected a whole number, got `{number}`")))?;
    Ok(VersionName { model: request.place(0).to_owned(), number }.into())
}

/// The version that a query parameter names: `MODEL`, `MODEL/VERSION` or `MODEL@ALIAS`.
fn reference(request: &AdminRequest, name: &str) -> Result<VersionReference, Problem> {
    let missing = || Problem::bad_request(format!("expected the parameter `{name}`"));
    Ok(request.text_parameter(name)?.ok_or_else(missing)?.parse()?)
}
