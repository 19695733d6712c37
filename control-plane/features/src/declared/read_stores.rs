//! The `spec` of an online store: exactly one member, which says which store.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::reading::{Faults, Fields};
use super::resources::{HttpDialect, HttpStoreDeclaration, StoreKind};
use crate::store::{KeyTemplate, RedisAddress};

const KINDS: [&str; 9] = [
    "embedded",
    "feast_redis",
    "feast_sqlite",
    "redis_hash",
    "feast_http",
    "hopsworks",
    "tecton",
    "sagemaker",
    "vertex",
];

pub(super) fn store_kind(spec: &Json, faults: &mut Faults) -> Option<StoreKind> {
    let known: Vec<&'static str> = ["owner", "description"].into_iter().chain(KINDS).collect();
    let fields = Fields::open(spec, "spec", &known, faults)?;
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| fields.any(kind).is_some()).collect();
    let [kind] = given.as_slice() else {
        faults.add("spec", format!("expected exactly one of `{}`, got `{}`", KINDS.join("`, `"), given.len()));
        return None;
    };
    let json = fields.any(kind)?;
    let path = fields.at(kind);
    match *kind {
        "embedded" => {
            let fields = Fields::open(json, &path, &["path"], faults)?;
            Some(StoreKind::Embedded { path: PathBuf::from(fields.text("path", faults)?) })
        }
        "feast_sqlite" => {
            let fields = Fields::open(json, &path, &["path", "project", "entity_key_serialization_version"], faults)?;
            let (file, project) = (fields.text("path", faults), fields.text("project", faults));
            let key_version = key_version(&fields, faults);
            Some(StoreKind::FeastSqlite { path: PathBuf::from(file?), project: project?.to_owned(), key_version })
        }
        "feast_redis" => {
            let known = ["url", "project", "entity_key_serialization_version", "username", "password_file"];
            let fields = Fields::open(json, &path, &known, faults)?;
            let (address, project) = (redis_address(&fields, faults), fields.text("project", faults));
            let key_version = key_version(&fields, faults);
            Some(StoreKind::FeastRedis { address: address?, project: project?.to_owned(), key_version })
        }
        "redis_hash" => {
            let known = ["url", "key", "event_time", "username", "password_file"];
            let fields = Fields::open(json, &path, &known, faults)?;
            let address = redis_address(&fields, faults);
            let key = fields.text("key", faults)?;
            if KeyTemplate::new(key, "view").runs_together() {
                faults.add(fields.at("key"), "expected text between two join keys, or two entities may share a key");
            }
            let event_time = fields.optional_text("event_time", faults).map(str::to_owned);
            Some(StoreKind::RedisHash { address: address?, key: key.to_owned(), event_time })
        }
        product => http(product, json, &path, faults),
    }
}

fn key_version(fields: &Fields<'_>, faults: &mut Faults) -> u8 {
    let version = fields.whole("entity_key_serialization_version", 2, 3, faults);
    version.and_then(|version| u8::try_from(version).ok()).unwrap_or(3)
}

fn redis_address(fields: &Fields<'_>, faults: &mut Faults) -> Option<RedisAddress> {
    let form = "redis://HOST:PORT/DATABASE";
    let url = fields.text("url", faults)?;
    let address = RedisAddress {
        url: check_url(fields.at("url"), url, &["redis://"], form, faults)?,
        username: fields.optional_text("username", faults).map(str::to_owned),
        password_file: fields.optional_text("password_file", faults).map(PathBuf::from),
    };
    if address.parts().is_none() {
        faults.add(fields.at("url"), format!("expected `{form}`"));
    }
    if address.username.is_some() && address.password_file.is_none() {
        faults.add(fields.at("username"), "expected `password_file` beside `username`");
    }
    Some(address)
}

/// A URL with one of these schemes and without credentials, which would end in logs and in version control; nor a query, where a
/// token may stand.
fn check_url(path: String, url: &str, schemes: &[&str], form: &str, faults: &mut Faults) -> Option<String> {
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme)).filter(|rest| !rest.is_empty());
    match rest {
        Some(rest) if rest.contains('@') => {
            // The message must not repeat the URL: it holds a secret.
            faults.add(path, "expected no credentials in the address; give `username` and `password_file`");
            None
        }
        // Neither is this repeated: what stands behind the host may be a token.
        Some(_) if !url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte)) => {
            faults.add(path, format!("expected `{form}` without blanks, query and fragment"));
            None
        }
        Some(_) => Some(url.to_owned()),
        None => {
            faults.add(path, format!("expected `{form}`"));
            None
        }
    }
}

/// Whether a URL has a host, and where it has a port, one that exists.
fn is_http_address(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let Some(authority) = uri.authority() else { return false };
    // Of a port that is none the reader makes none at all.
    let has_port = authority.as_str().len() > authority.host().len();
    !authority.host().is_empty() && (!has_port || authority.port_u16().is_some_and(|port| port > 0))
}

fn http(product: &str, json: &Json, path: &str, faults: &mut Faults) -> Option<StoreKind> {
    let own: &[&'static str] = match product {
        "hopsworks" => &["feature_store", "version"],
        "tecton" => &["workspace", "feature_service"],
        "sagemaker" => &["region", "event_time"],
        "vertex" => &["store"],
        _ => &[],
    };
    let known: Vec<&'static str> = ["url", "token_file"].into_iter().chain(own.iter().copied()).collect();
    let fields = Fields::open(json, path, &known, faults)?;
    let url = fields.text("url", faults)?;
    let form = "http://HOST:PORT` or `https://HOST";
    let url = check_url(fields.at("url"), url, &["http://", "https://"], form, faults);
    let url = url.filter(|url| {
        let is_address = is_http_address(url);
        if !is_address {
            faults.add(fields.at("url"), format!("expected `{form}`, a port of at most `65535`"));
        }
        is_address
    });
    let token_file = fields.optional_text("token_file", faults).map(PathBuf::from);
    if product != "feast_http" && token_file.is_none() {
        faults.add(fields.at("token_file"), "expected the file with the token, got none");
    }
    let mut text = |name: &str| fields.text(name, faults).map(str::to_owned);
    let dialect = match product {
        "hopsworks" => {
            let feature_store = text("feature_store");
            let version = fields.whole("version", 1, u64::from(u32::MAX), faults);
            let version = version.and_then(|version| u32::try_from(version).ok()).unwrap_or(1);
            HttpDialect::Hopsworks { feature_store: feature_store?, version }
        }
        "tecton" => {
            let (workspace, feature_service) = (text("workspace"), text("feature_service"));
            HttpDialect::Tecton { workspace: workspace?, feature_service: feature_service? }
        }
        "sagemaker" => {
            let (region, event_time) = (text("region"), text("event_time"));
            HttpDialect::SageMaker { region: region?, event_time: event_time? }
        }
        "vertex" => HttpDialect::Vertex { store: text("store")? },
        _ => HttpDialect::Feast,
    };
    let url = url?.trim_end_matches('/').to_owned();
    Some(StoreKind::Http(HttpStoreDeclaration { dialect, url, token_file }))
}
