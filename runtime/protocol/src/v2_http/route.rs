//! Paths to routes (W-01, W-02).
//!
//! The one table of HTTP routes: authorisation and dispatch both read it, so that no spelling of a path can reach a
//! route by another door. Paths are compared byte by byte: nothing is decoded, folded or normalised, and nothing is
//! allocated. Routes that the server does not offer are known here too, so that it can say so by name.

/// A request method, as far as routes tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
    /// Any other.
    Other,
}

impl Method {
    /// From the method's name; case matters.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            _ => Self::Other,
        }
    }
}

/// What stands in the place of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionSegment<'p> {
    /// Decimal digits; a number that no version can have is the largest one.
    Number(u64),
    /// A word that begins with a letter and has letters, digits, `.`, `_` and `-`: a label, or `latest`.
    Word(&'p str),
}

/// What a path asks for. Versions are `None` when the path names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are named like the parts of the path")]
pub enum Route<'p> {
    /// `GET /v2`.
    ServerMetadata,
    /// `GET /v2/health/live`.
    Live,
    /// `GET /v2/health/ready`.
    Ready,
    /// `GET /v2/models/{m}`.
    ModelMetadata { model: &'p str, version: Option<VersionSegment<'p>> },
    /// `GET /v2/models/{m}/ready`.
    ModelReady { model: &'p str, version: Option<VersionSegment<'p>> },
    /// `GET /v2/models/{m}/config`.
    ModelConfig { model: &'p str, version: Option<VersionSegment<'p>> },
    /// `GET /v2/models/stats`, or of one model.
    Statistics { model: Option<&'p str>, version: Option<VersionSegment<'p>> },
    /// `POST /v2/models/{m}/infer`.
    Infer { model: &'p str, version: Option<VersionSegment<'p>> },
    /// `POST /v2/models/{m}/generate`.
    Generate { model: &'p str, version: Option<VersionSegment<'p>> },
    /// `POST /v2/models/{m}/generate_stream`.
    GenerateStream { model: &'p str, version: Option<VersionSegment<'p>> },
    /// `POST /v2/repository/index`, or of one repository.
    RepositoryIndex { repository: Option<&'p str> },
    /// `POST /v2/repository/models/{m}/load`; with a repository it is not offered (W-74).
    RepositoryLoad { repository: Option<&'p str>, model: &'p str },
    /// `POST /v2/repository/models/{m}/unload`; with a repository it is not offered (W-74).
    RepositoryUnload { repository: Option<&'p str>, model: &'p str },
    /// `GET` or `POST /v2/trace/setting`, or of one model.
    TraceSetting { model: Option<&'p str> },
    /// `GET` or `POST /v2/logging`.
    Logging,
    /// The shared-memory routes (W-59 to W-62).
    SharedMemory { kind: SharedMemoryKind, region: Option<&'p str>, action: SharedMemoryAction },
}

impl<'p> Route<'p> {
    /// The word in the place of a version, and the model that it is said of.
    #[must_use]
    pub const fn version_word(&self) -> Option<(&'p str, &'p str)> {
        match *self {
            Self::ModelMetadata { model, version: Some(VersionSegment::Word(word)) }
            | Self::ModelReady { model, version: Some(VersionSegment::Word(word)) }
            | Self::ModelConfig { model, version: Some(VersionSegment::Word(word)) }
            | Self::Statistics { model: Some(model), version: Some(VersionSegment::Word(word)) }
            | Self::Infer { model, version: Some(VersionSegment::Word(word)) }
            | Self::Generate { model, version: Some(VersionSegment::Word(word)) }
            | Self::GenerateStream { model, version: Some(VersionSegment::Word(word)) } => Some((model, word)),
            _ => None,
        }
    }
}

/// Where shared memory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedMemoryKind {
    /// In the host's memory.
    System,
    /// In a GPU's memory.
    Cuda,
}

/// What is asked of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedMemoryAction {
    /// Which regions there are.
    Status,
    /// Make a region known.
    Register,
    /// Forget a region, or all.
    Unregister,
}

/// The outcome of [`route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteMatch<'p> {
    /// A route, with a method that it takes.
    Found(Route<'p>),
    /// A route with another method: 405. The value of the `Allow` header.
    MethodNotAllowed(&'static str),
    /// No route: 404.
    NotFound,
}

const GET: &str = "GET";
const POST: &str = "POST";
const BOTH: &str = "GET, POST";

/// Finds the route of a request. A query string is ignored.
#[must_use]
pub fn route(method: Method, path: &str) -> RouteMatch<'_> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let Some((route, allowed)) = find(path) else { return RouteMatch::NotFound };
    let allows = match method {
        Method::Get => allowed != POST,
        Method::Post => allowed != GET,
        Method::Other => false,
    };
    if allows { RouteMatch::Found(route) } else { RouteMatch::MethodNotAllowed(allowed) }
}

fn find(path: &str) -> Option<(Route<'_>, &'static str)> {
    let rest = path.strip_prefix("/v2")?;
    if rest.is_empty() {
        return Some((Route::ServerMetadata, GET));
    }
    let rest = rest.strip_prefix('/')?;
    if let Some(rest) = rest.strip_prefix("models/") {
        return model_route(rest);
    }
    match rest {
        "health/live" => return Some((Route::Live, GET)),
        "health/ready" => return Some((Route::Ready, GET)),
        "logging" => return Some((Route::Logging, BOTH)),
        "trace/setting" => return Some((Route::TraceSetting { model: None }, BOTH)),
        _ => {}
    }
    if let Some(rest) = rest.strip_prefix("repository/") {
        return repository_route(rest);
    }
    if let Some(rest) = rest.strip_prefix("systemsharedmemory") {
        return shared_memory_route(SharedMemoryKind::System, rest);
    }
    shared_memory_route(SharedMemoryKind::Cuda, rest.strip_prefix("cudasharedmemory")?)
}

fn model_route(rest: &str) -> Option<(Route<'_>, &'static str)> {
    if rest == "stats" {
        return Some((Route::Statistics { model: None, version: None }, GET));
    }
    let (model, rest) = segment(rest)?;
    let Some(rest) = rest else { return Some((Route::ModelMetadata { model, version: None }, GET)) };
    let (version, rest) = match rest.strip_prefix("versions/") {
        None => (None, Some(rest)),
        Some(rest) => {
            let (version, rest) = segment(rest)?;
            (Some(parse_version(version)?), rest)
        }
    };
    let Some(action) = rest else { return Some((Route::ModelMetadata { model, version }, GET)) };
    Some(match action {
        "infer" => (Route::Infer { model, version }, POST),
        "ready" => (Route::ModelReady { model, version }, GET),
        "config" => (Route::ModelConfig { model, version }, GET),
        "stats" => (Route::Statistics { model: Some(model), version }, GET),
        "generate" => (Route::Generate { model, version }, POST),
        "generate_stream" => (Route::GenerateStream { model, version }, POST),
        "trace/setting" if version.is_none() => (Route::TraceSetting { model: Some(model) }, BOTH),
        _ => return None,
    })
}

fn repository_route(rest: &str) -> Option<(Route<'_>, &'static str)> {
    if rest == "index" {
        return Some((Route::RepositoryIndex { repository: None }, POST));
    }
    if let Some(found) = rest.strip_prefix("models/").and_then(|rest| load_route(None, rest)) {
        return Some(found);
    }
    let (repository, rest) = segment(rest)?;
    let rest = rest?;
    if rest == "index" {
        return Some((Route::RepositoryIndex { repository: Some(repository) }, POST));
    }
    load_route(Some(repository), rest.strip_prefix("models/")?)
}

fn load_route<'p>(repository: Option<&'p str>, rest: &'p str) -> Option<(Route<'p>, &'static str)> {
    let (model, action) = segment(rest)?;
    match action? {
        "load" => Some((Route::RepositoryLoad { repository, model }, POST)),
        "unload" => Some((Route::RepositoryUnload { repository, model }, POST)),
        _ => None,
    }
}

fn shared_memory_route(kind: SharedMemoryKind, rest: &str) -> Option<(Route<'_>, &'static str)> {
    let rest = rest.strip_prefix('/')?;
    let (region, action) = match rest.strip_prefix("region/") {
        Some(rest) => {
            let (region, action) = segment(rest)?;
            (Some(region), action?)
        }
        None => (None, rest),
    };
    let (action, allowed) = match action {
        "status" => (SharedMemoryAction::Status, GET),
        "register" if region.is_some() => (SharedMemoryAction::Register, POST),
        "unregister" => (SharedMemoryAction::Unregister, POST),
        _ => return None,
    };
    Some((Route::SharedMemory { kind, region, action }, allowed))
}

/// The first segment of `path`, not empty, and what follows its slash.
fn segment(path: &str) -> Option<(&str, Option<&str>)> {
    let (first, rest) = match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    (!first.is_empty()).then_some((first, rest))
}

/// A number or a word; `None` for what is neither.
fn parse_version(text: &str) -> Option<VersionSegment<'_>> {
    let first = text.bytes().next()?;
    if first.is_ascii_alphabetic() {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        return (text.len() <= 64 && text.bytes().all(inner)).then_some(VersionSegment::Word(text));
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| VersionSegment::Number(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    /// Every route that there is, with the methods that it takes.
    const TABLE: &[(&str, &str)] = &[
        ("/v2", GET),
        ("/v2/health/live", GET),
        ("/v2/health/ready", GET),
        ("/v2/models/m", GET),
        ("/v2/models/m/versions/3", GET),
        ("/v2/models/m/ready", GET),
        ("/v2/models/m/versions/3/ready", GET),
        ("/v2/models/m/config", GET),
        ("/v2/models/m/versions/3/config", GET),
        ("/v2/models/stats", GET),
        ("/v2/models/m/stats", GET),
        ("/v2/models/m/versions/3/stats", GET),
        ("/v2/models/m/infer", POST),
        ("/v2/models/m/versions/3/infer", POST),
        ("/v2/models/m/generate", POST),
        ("/v2/models/m/versions/3/generate", POST),
        ("/v2/models/m/generate_stream", POST),
        ("/v2/models/m/trace/setting", BOTH),
        ("/v2/trace/setting", BOTH),
        ("/v2/logging", BOTH),
        ("/v2/repository/index", POST),
        ("/v2/repository/r/index", POST),
        ("/v2/repository/models/m/load", POST),
        ("/v2/repository/models/m/unload", POST),
        ("/v2/repository/r/models/m/load", POST),
        ("/v2/repository/r/models/m/unload", POST),
        ("/v2/systemsharedmemory/status", GET),
        ("/v2/systemsharedmemory/region/r/status", GET),
        ("/v2/systemsharedmemory/region/r/register", POST),
        ("/v2/systemsharedmemory/region/r/unregister", POST),
        ("/v2/systemsharedmemory/unregister", POST),
        ("/v2/cudasharedmemory/status", GET),
        ("/v2/cudasharedmemory/region/r/register", POST),
        ("/v2/cudasharedmemory/unregister", POST),
    ];

    #[test]
    fn w01_methods_and_spellings() {
        for (path, allowed) in TABLE {
            for (method, name) in [(Method::Get, "GET"), (Method::Post, "POST"), (Method::Other, "PUT")] {
                let found = route(method, path);
                if allowed.contains(name) {
                    assert!(matches!(found, RouteMatch::Found(_)), "{name} {path}");
                    assert_eq!(route(method, &format!("{path}?a=/b")), found, "the query string is ignored");
                } else {
                    assert_eq!(found, RouteMatch::MethodNotAllowed(allowed), "{name} {path}");
                }
                for other in [
                    format!("{path}/"),
                    format!("/{path}"),
                    path.replace("/v2", "/V2"),
                    path.replace("/v2", "/v2/"),
                    path.replacen("/v2", "", 1),
                    format!("{path}/x/y/z"),
                ] {
                    assert_eq!(route(method, &other), RouteMatch::NotFound, "{name} {other}");
                }
            }
        }
    }

    #[test]
    fn w02_names_are_taken_as_they_are() {
        let found = route(Method::Post, "/v2/models/my%5Fmodel/versions/01/infer");
        assert_eq!(
            found,
            RouteMatch::Found(Route::Infer { model: "my%5Fmodel", version: Some(VersionSegment::Number(1)) })
        );
        let labelled = route(Method::Post, "/v2/models/m/versions/canary-2.0/infer");
        let label = Some(VersionSegment::Word("canary-2.0"));
        assert_eq!(labelled, RouteMatch::Found(Route::Infer { model: "m", version: label }));
        for version in ["-1", "1a", "", "+1", "1.0", "a%20b", "-canary"] {
            assert_eq!(route(Method::Post, &format!("/v2/models/m/versions/{version}/infer")), RouteMatch::NotFound);
        }
        let huge = route(Method::Get, "/v2/models/m/versions/99999999999999999999");
        assert_eq!(
            huge,
            RouteMatch::Found(Route::ModelMetadata { model: "m", version: Some(VersionSegment::Number(u64::MAX)) })
        );
    }

    #[test]
    fn w77_no_versions_in_trace_settings() {
        assert_eq!(route(Method::Get, "/v2/models/m/versions/1/trace/setting"), RouteMatch::NotFound);
    }

    proptest! {
        #[test]
        fn random_paths_never_panic(path in "(/v2)?(/[a-z0-9%?./]{0,12}){0,6}") {
            let _found = route(Method::Get, &path);
        }
    }
}
