//! The table of routes: method, path, operation. What is not here does not exist; the OpenAPI document says the same.

use std::sync::Arc;

use hanok_registry::Registry;
use hanok_rollout::rollout::Command;
use hanok_state::StateStore;
use http::{Method, StatusCode};

use super::problem::Problem;
use super::registry_routes::{self, RegistryOperation};
use super::request::{AdminRequest, Answer};
use super::webhook_routes::{self, WebhookReceiver};
use super::{control_routes, declared_routes, journal_routes, openapi, outcome_routes, runtime_routes, shadow_routes};
use crate::controller::ControlHandle;
use crate::port::RuntimePort;
use crate::reconcile::DeclaredHandle;
use crate::settings::Clock;

/// What a server offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(super) control: Option<ControlOffer>,
    pub(super) runtime: Option<Arc<dyn RuntimePort>>,
    pub(super) webhooks: Option<Arc<dyn WebhookReceiver>>,
}

/// The control plane behind a server.
#[derive(Clone, Debug)]
pub(crate) struct ControlOffer {
    pub(crate) handle: ControlHandle,
    pub(crate) store: StateStore,
    pub(crate) runtimes: Vec<Arc<dyn RuntimePort>>,
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) declared: Option<DeclaredHandle>,
    pub(crate) clock: Clock,
}

impl Offer {
    pub(crate) fn control_plane(control: ControlOffer, webhooks: Option<Arc<dyn WebhookReceiver>>) -> Self {
        Self { control: Some(control), runtime: None, webhooks }
    }

    pub(crate) fn runtime(runtime: Arc<dyn RuntimePort>) -> Self {
        Self { control: None, runtime: Some(runtime), webhooks: None }
    }
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Apply,
    ListResources,
    ListResourcesOfKind,
    GetResource,
    ListRevisions,
    Rollback,
    GetTraffic,
    KillSwitch,
    ListShadows,
    ListRollouts,
    GetRollout,
    ExplainRollout,
    OrderRollout(Command),
    GetExperiment,
    GetBandit,
    ReportOutcomes,
    CountOutcomes,
    ReadJournal,
    ListCursors,
    RegisterCursor,
    AdvanceCursor,
    RemoveCursor,
    Registry(RegistryOperation),
    GetDeclared,
    LookAtDeclared,
    SyncDeclared,
    GetStatus,
    GetOpenApi,
    ReceiveWebhook,
    GetRuntimeTable,
    PutRuntimeTable,
    RuntimeKillSwitch,
    MarkRuntimeGood,
    DrainRuntime,
    ListRuntimeModels,
    ListRuntimeShadows,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// Places in braces.
    pub(super) path: &'static str,
    pub(super) operation: Operation,
    pub(super) summary: &'static str,
}

const fn route(method: Method, path: &'static str, operation: Operation, summary: &'static str) -> Route {
    Route { method, path, operation, summary }
}

use Operation as Do;
use RegistryOperation as Ask;

/// Every route.
pub(super) const ROUTES: [Route; 51] = [
    route(Method::POST, "/v1/apply", Do::Apply, "Plans and applies declared resources"),
    route(Method::GET, "/v1/resources", Do::ListResources, "Lists declared resources"),
    route(Method::GET, "/v1/resources/{kind}", Do::ListResourcesOfKind, "Lists declared resources of a kind"),
    route(Method::GET, "/v1/resources/{kind}/{name}", Do::GetResource, "Gives a declared resource"),
    route(Method::GET, "/v1/revisions", Do::ListRevisions, "Lists revisions, newest first"),
    route(Method::POST, "/v1/rollback", Do::Rollback, "Restores an earlier revision as a new one"),
    route(Method::GET, "/v1/traffic", Do::GetTraffic, "Gives the traffic table"),
    route(Method::POST, "/v1/traffic/kill-switch", Do::KillSwitch, "Puts the last good traffic table back in force"),
    route(Method::GET, "/v1/shadows", Do::ListShadows, "Gives the shadows' counts and newest disagreements"),
    route(Method::GET, "/v1/rollouts", Do::ListRollouts, "Lists rollouts"),
    route(Method::GET, "/v1/rollouts/{name}", Do::GetRollout, "Gives a rollout with its evidence"),
    route(Method::GET, "/v1/rollouts/{name}/explain", Do::ExplainRollout, "Explains every decision of a rollout"),
    route(Method::POST, "/v1/rollouts/{name}/start", Do::OrderRollout(Command::Start), "Starts a rollout"),
    route(Method::POST, "/v1/rollouts/{name}/pause", Do::OrderRollout(Command::Pause), "Stops progress at this weight"),
    route(Method::POST, "/v1/rollouts/{name}/resume", Do::OrderRollout(Command::Resume), "Lets a rollout go on"),
    route(
        Method::POST,
        "/v1/rollouts/{name}/abort",
        Do::OrderRollout(Command::Abort),
        "Ends a rollout at the baseline",
    ),
    route(Method::POST, "/v1/rollouts/{name}/promote", Do::OrderRollout(Command::Promote), "Promotes without proof"),
    route(Method::GET, "/v1/experiments/{name}", Do::GetExperiment, "Gives the report of an experiment"),
    route(Method::GET, "/v1/bandits/{name}", Do::GetBandit, "Gives the state of a bandit"),
    route(Method::POST, "/v1/outcomes", Do::ReportOutcomes, "Reports outcomes by request id"),
    route(Method::GET, "/v1/outcomes", Do::CountOutcomes, "Counts what became of outcomes"),
    route(Method::GET, "/v1/journal", Do::ReadJournal, "Reads the journal as CloudEvents"),
    route(Method::GET, "/v1/cursors", Do::ListCursors, "Lists readers of the journal"),
    route(Method::PUT, "/v1/cursors/{name}", Do::RegisterCursor, "Registers a reader of the journal"),
    route(Method::POST, "/v1/cursors/{name}", Do::AdvanceCursor, "Moves a reader of the journal"),
    route(Method::DELETE, "/v1/cursors/{name}", Do::RemoveCursor, "Forgets a reader of the journal"),
    route(Method::GET, "/v1/registry/models", Do::Registry(Ask::ListModels), "Lists registered models"),
    route(Method::GET, "/v1/registry/models/{model}", Do::Registry(Ask::GetModel), "Gives a model's rules and aliases"),
    route(
        Method::PUT,
        "/v1/registry/models/{model}/rules/{stage}",
        Do::Registry(Ask::SetRule),
        "Replaces what a model wants before a stage",
    ),
    route(
        Method::GET,
        "/v1/registry/models/{model}/versions",
        Do::Registry(Ask::ListVersions),
        "Lists the versions of a model",
    ),
    route(
        Method::GET,
        "/v1/registry/models/{model}/versions/{version}",
        Do::Registry(Ask::GetVersion),
        "Gives everything on record about a version",
    ),
    route(
        Method::PUT,
        "/v1/registry/models/{model}/versions/{version}/stage",
        Do::Registry(Ask::SetStage),
        "Brings a version to a stage",
    ),
    route(
        Method::POST,
        "/v1/registry/models/{model}/versions/{version}/approvals",
        Do::Registry(Ask::Approve),
        "Approves or rejects a version for a stage",
    ),
    route(
        Method::GET,
        "/v1/registry/models/{model}/aliases/{alias}",
        Do::Registry(Ask::GetAlias),
        "Gives everything on record about the version that an alias points at",
    ),
    route(
        Method::PUT,
        "/v1/registry/models/{model}/aliases/{alias}",
        Do::Registry(Ask::SetAlias),
        "Points an alias at a version by compare-and-set",
    ),
    route(
        Method::DELETE,
        "/v1/registry/models/{model}/aliases/{alias}",
        Do::Registry(Ask::RemoveAlias),
        "Removes an alias by compare-and-set",
    ),
    route(Method::GET, "/v1/registry/diff", Do::Registry(Ask::Compare), "Tells what differs between two versions"),
    route(Method::GET, "/v1/registry/log", Do::Registry(Ask::ReadLog), "Tells who changed what in the registry"),
    route(Method::GET, "/v1/declared", Do::GetDeclared, "Shows what is declared elsewhere beside what is in force"),
    route(Method::POST, "/v1/declared/look", Do::LookAtDeclared, "Looks soon at the place of declarations"),
    route(
        Method::POST,
        "/v1/declared/sync",
        Do::SyncDeclared,
        "Puts what is declared in force now, and ends a held table",
    ),
    route(Method::GET, "/v1/status", Do::GetStatus, "Gives the state of the control plane and its runtimes"),
    route(Method::GET, "/v1/openapi.json", Do::GetOpenApi, "Gives this document"),
    route(Method::POST, "/v1/webhooks/{sender}", Do::ReceiveWebhook, "Takes a signed webhook; needs no token"),
    route(Method::GET, "/v1/runtime/table", Do::GetRuntimeTable, "Gives the table that this runtime goes by"),
    route(Method::PUT, "/v1/runtime/table", Do::PutRuntimeTable, "Puts a table in force by compare-and-set"),
    route(Method::POST, "/v1/runtime/kill-switch", Do::RuntimeKillSwitch, "Restores this runtime's last good table"),
    route(Method::POST, "/v1/runtime/good", Do::MarkRuntimeGood, "Marks a table of this runtime good"),
    route(Method::POST, "/v1/runtime/records", Do::DrainRuntime, "Reads and acknowledges this runtime's records"),
    route(Method::GET, "/v1/runtime/models", Do::ListRuntimeModels, "Lists the models of this runtime"),
    route(Method::POST, "/v1/runtime/shadows", Do::ListRuntimeShadows, "Gives this runtime's shadows"),
];

/// The route of a request and the values of its places; or the problem, with what the path allows.
pub(super) fn find(method: &Method, path: &str) -> Result<(Operation, Vec<String>), (Problem, Vec<Method>)> {
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(places) = places(route.path, path) else { continue };
        if route.method == *method {
            return Ok((route.operation, places));
        }
        allowed.push(route.method.clone());
    }
    let problem = if allowed.is_empty() {
        let action = "see /v1/openapi.json for what there is";
        Problem::new(StatusCode::NOT_FOUND, "no-such-route", "nothing is here", action)
    } else {
        let action = "use a method that the header `Allow` names";
        let detail = format!("method `{method}` is not possible here");
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail, action)
    };
    Err((problem, allowed))
}

/// The values in place of the pattern's braces, if the path is like it. Names need no percent-encoding.
fn places(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut given = path.split('/');
    for part in pattern.split('/') {
        let value = given.next()?;
        if part.starts_with('{') {
            let plain = !value.is_empty()
                && value.len() <= 128
                && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%');
            values.push(plain.then(|| value.to_owned())?);
        } else if part != value {
            return None;
        }
    }
    given.next().is_none().then_some(values)
}

/// Does what the route says.
pub(super) async fn dispatch(offer: &Offer, operation: Operation, request: &AdminRequest) -> Result<Answer, Problem> {
    let control = || offer.control.as_ref().ok_or_else(|| not_offered("control plane"));
    let runtime = || offer.runtime.as_deref().ok_or_else(|| not_offered("runtime"));
    match operation {
        Do::Apply => control_routes::apply(control()?, request).await,
        Do::ListResources => control_routes::resources(control()?, request, None, None).await,
        Do::ListResourcesOfKind => control_routes::resources(control()?, request, Some(request.place(0)), None).await,
        Do::GetResource => {
            control_routes::resources(control()?, request, Some(request.place(0)), Some(request.place(1))).await
        }
        Do::ListRevisions => control_routes::revisions(control()?, request).await,
        Do::Rollback => control_routes::rollback(control()?, request).await,
        Do::KillSwitch => control_routes::kill_switch(control()?, request).await,
        Do::ListShadows => shadow_routes::list(control()?, request).await,
        Do::OrderRollout(order) => control_routes::order(control()?, request, order).await,
        Do::ExplainRollout => control_routes::explain(control()?, request).await,
        Do::GetTraffic | Do::ListRollouts | Do::GetRollout | Do::GetExperiment | Do::GetBandit | Do::GetStatus => {
            control_routes::view(control()?, request, operation).await
        }
        Do::ReportOutcomes => outcome_routes::report(control()?, request).await,
        Do::CountOutcomes => outcome_routes::count(control()?, request).await,
        Do::ReadJournal => journal_routes::read(control()?, request).await,
        Do::ListCursors => journal_routes::list(control()?, request).await,
        Do::RegisterCursor => journal_routes::register(control()?, request).await,
        Do::AdvanceCursor => journal_routes::advance(control()?, request).await,
        Do::RemoveCursor => journal_routes::remove(control()?, request).await,
        Do::GetDeclared => declared_routes::status(control()?, request).await,
        Do::LookAtDeclared => declared_routes::look(control()?, request),
        Do::SyncDeclared => declared_routes::sync(control()?, request).await,
        Do::Registry(operation) => registry_routes::answer(control()?, operation, request).await,
        Do::GetOpenApi => {
            request.only_parameters(&[])?;
            Ok(Answer::json(&openapi::openapi_document()))
        }
        Do::ReceiveWebhook => {
            request.only_parameters(&[])?;
            let receiver = offer.webhooks.as_deref().ok_or_else(|| not_offered("receiver of webhooks"))?;
            webhook_routes::receive(
                receiver,
                request,
                offer.control.as_ref().and_then(|control| control.declared.as_ref()),
            )
        }
        Do::GetRuntimeTable
        | Do::PutRuntimeTable
        | Do::RuntimeKillSwitch
        | Do::MarkRuntimeGood
        | Do::DrainRuntime
        | Do::ListRuntimeModels
        | Do::ListRuntimeShadows => runtime_routes::answer(runtime()?, operation, request).await,
    }
}

pub(super) fn not_offered(what: &str) -> Problem {
    let detail = format!("this port does not offer a {what}");
    Problem::new(StatusCode::NOT_FOUND, "not-offered", detail, "ask the process that does")
}
