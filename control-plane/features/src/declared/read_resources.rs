//! One resource from its `spec`, its references still names.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;

use super::reading::{Faults, Fields, bare_hint, clipped, name_fault, quotes_hint, shown};
use super::suggestion::nearest;
use super::{
    CacheSettings, Entity, Fallback, Feature, FeatureService, FeatureView, ServiceFeature, Source, StoreDeclaration,
};
use crate::data_type::{ElementType, FeatureType};
use crate::entity_key::{KeyLayout, KeyType};
use crate::value::Value;

/// Longest age or deadline that can be declared: ten years, in seconds.
const LONGEST_SECONDS: u64 = 315_360_000;
/// Most features of a view or service.
const MOST_FEATURES: usize = 1024;

/// A resource whose references are names.
pub(super) struct Draft {
    pub(super) document: usize,
    pub(super) name: String,
    pub(super) body: Body,
}

pub(super) enum Body {
    Entity(Entity),
    Store(StoreDeclaration),
    /// Its key layout is still empty.
    View(FeatureView),
    Service(FeatureService),
}

impl Body {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Entity(_) => "Entity",
            Self::Store(_) => "OnlineStore",
            Self::View(_) => "FeatureView",
            Self::Service(_) => "FeatureService",
        }
    }
}

/// Reads a resource of a known kind.
pub(super) fn read_draft(kind: &str, name: &str, spec: &Json, faults: &mut Faults) -> Option<Draft> {
    let body = match kind {
        "Entity" => Body::Entity(entity(name, spec, faults)?),
        "OnlineStore" => {
            let kind = super::read_stores::store_kind(spec, faults)?;
            Body::Store(StoreDeclaration { name: name.to_owned(), kind })
        }
        "FeatureView" => Body::View(view(name, spec, faults)?),
        _ => Body::Service(service(name, spec, faults)?),
    };
    Some(Draft { document: faults.document, name: name.to_owned(), body })
}

fn entity(name: &str, spec: &Json, faults: &mut Faults) -> Option<Entity> {
    let fields = Fields::open(spec, "spec", &["key", "type", "owner", "description"], faults)?;
    let key = fields.optional_text("key", faults).unwrap_or(name);
    if let Some(fault) = name_fault(key) {
        faults.add(fields.at("key"), fault);
    }
    let names = KeyType::ALL.map(KeyType::as_str);
    let text = fields.text("type", faults)?;
    let key_type = KeyType::ALL.into_iter().find(|one| one.as_str() == text);
    if key_type.is_none() {
        faults.add(fields.at("type"), expected_one_of(&names, text));
    }
    Some(Entity {
        name: name.to_owned(),
        key: key.to_owned(),
        key_type: key_type?,
        owner: fields.optional_text("owner", faults).map(str::to_owned),
    })
}

/// `expected one of ..., got ...; did you mean ...?`
pub(super) fn expected_one_of(names: &[&str], text: &str) -> String {
    let hint =
        nearest(text, names.iter().copied()).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("expected one of `{}`, got `{}`{hint}", names.join("`, `"), clipped(text))
}

fn view(name: &str, spec: &Json, faults: &mut Faults) -> Option<FeatureView> {
    let known = ["entities", "store", "owner", "description", "maximum_age_seconds", "features", "source", "offline"];
    let fields = Fields::open(spec, "spec", &known, faults)?;
    let mut entities = Vec::new();
    for (path, json) in fields.list("entities", true, faults) {
        match json.as_str() {
            Some(entity) if entities.iter().any(|one| one == entity) => {
                faults.add(path, format!("expected each entity once, got `{}` again", clipped(entity)));
            }
            Some(entity) => entities.push(entity.to_owned()),
            None => faults
                .add(path, format!("expected the name of an `Entity`, got `{}`{}", shown(json), quotes_hint(json))),
        }
    }
    let maximum_age = seconds(&fields, "maximum_age_seconds", faults);
    let mut features = Vec::new();
    let mut seen = BTreeSet::new();
    let listed = fields.list("features", true, faults);
    if listed.len() > MOST_FEATURES {
        faults.add(fields.at("features"), format!("expected at most `{MOST_FEATURES}`, got `{}`", listed.len()));
    }
    for (path, json) in listed.into_iter().take(MOST_FEATURES) {
        let Some(feature) = feature(json, &path, maximum_age, faults) else { continue };
        if !seen.insert(feature.name.clone()) {
            faults.add(format!("{path}.name"), format!("expected a name of its own, got `{}` again", feature.name));
        }
        features.push(feature);
    }
    let source = fields.any("source").and_then(|json| source(json, &fields.at("source"), faults));
    let offline = fields.any("offline").and_then(|json| {
        let fields = Fields::open(json, &fields.at("offline"), &["path"], faults)?;
        let path = place_of_files(fields.text("path", faults)?, &fields.at("path"), faults)?;
        if path.contains(['*', '?']) {
            faults.add(fields.at("path"), format!("expected a folder, got the pattern `{}`", clipped(path)));
        }
        Some(path.to_owned())
    });
    let store = fields.text("store", faults);
    let owner = fields.text("owner", faults);
    Some(FeatureView {
        name: name.to_owned(),
        entities,
        keys: KeyLayout::new(Vec::new()),
        store: store.unwrap_or_default().to_owned(),
        owner: owner.unwrap_or_default().to_owned(),
        maximum_age,
        features,
        source,
        offline,
    })
}

fn seconds(fields: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Duration> {
    fields.whole(name, 1, LONGEST_SECONDS, faults).map(Duration::from_secs)
}

fn feature(json: &Json, path: &str, inherited: Option<Duration>, faults: &mut Faults) -> Option<Feature> {
    let known = ["name", "type", "default", "fallback", "maximum_age_seconds", "description"];
    let fields = Fields::open(json, path, &known, faults)?;
    let name = fields.text("name", faults);
    if let Some(fault) = name.and_then(name_fault) {
        faults.add(fields.at("name"), fault);
    }
    let text = fields.text("type", faults);
    let data_type = text.and_then(|text| text.parse::<FeatureType>().ok());
    if let (Some(text), None) = (text, data_type) {
        let names = FeatureType::all_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        faults.add(fields.at("type"), expected_one_of(&names, text));
    }
    let default = fields.any("default").zip(data_type).and_then(|(json, data_type)| {
        let told = |fault: String| {
            let hint_of = |one: &Json| match data_type.element {
                ElementType::String | ElementType::Bytes | ElementType::Timestamp => quotes_hint(one),
                ElementType::Bool => bare_hint(one),
                _ => "",
            };
            let elements = json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice);
            let hint = elements.iter().map(hint_of).find(|hint| !hint.is_empty()).unwrap_or_default();
            format!("{fault}{hint}")
        };
        Value::from_json(json, data_type).map_err(|fault| faults.add(fields.at("default"), told(fault))).ok()
    });
    let has_default = fields.any("default").is_some();
    let rule = fields.optional_text("fallback", faults).unwrap_or(if has_default { "default" } else { "fail" });
    let fallback = match rule {
        "default" => match default {
            Some(default) => Fallback::Default(default),
            None => {
                if !has_default {
                    faults.add(fields.at("fallback"), "expected `default` to be given for this fallback");
                }
                return None;
            }
        },
        "last_known" => Fallback::LastKnown(default),
        "missing" => {
            let floats = [ElementType::Float32, ElementType::Float64];
            if data_type.is_some_and(|one| !floats.contains(&one.element)) {
                faults.add(
                    fields.at("fallback"),
                    "expected a type with NaN (`float32`, `float64`, lists of them) for `missing`",
                );
            }
            Fallback::Missing
        }
        "fail" => Fallback::Fail,
        other => {
            faults.add(fields.at("fallback"), expected_one_of(&Fallback::NAMES, other));
            return None;
        }
    };
    let unused = matches!(fallback, Fallback::Missing | Fallback::Fail);
    if unused && has_default {
        faults.add(fields.at("default"), format!("expected no default with fallback `{}`", fallback.as_str()));
    }
    let maximum_age = seconds(&fields, "maximum_age_seconds", faults).or(inherited);
    Some(Feature { name: name?.to_owned(), data_type: data_type?, maximum_age, fallback })
}

fn source(json: &Json, path: &str, faults: &mut Faults) -> Option<Source> {
    let fields = Fields::open(json, path, &["path", "event_time", "created_time", "columns"], faults)?;
    let place = fields.optional_text("path", faults);
    let created_time = fields.optional_text("created_time", faults).map(str::to_owned);
    let event_time = fields.text("event_time", faults)?.to_owned();
    if created_time.as_ref() == Some(&event_time) {
        faults.add(fields.at("created_time"), format!("expected another column than `event_time`, got `{event_time}`"));
    }
    Some(Source {
        path: place.and_then(|place| place_of_files(place, &fields.at("path"), faults)).map(str::to_owned),
        event_time,
        created_time,
        columns: fields.texts("columns", faults).into_iter().collect::<BTreeMap<_, _>>(),
    })
}

/// A path on this machine, or one in a bucket; addresses of other places are refused rather than taken for folders.
fn place_of_files<'t>(text: &'t str, path: &str, faults: &mut Faults) -> Option<&'t str> {
    let is_place = match text.split_once("://") {
        None => !text.is_empty(),
        Some(("s3" | "gs" | "az", place)) => {
            let bucket = place.split('/').next().unwrap_or_default();
            !bucket.is_empty() && !bucket.contains(['@', ':', '*', '?'])
        }
        Some(_) => false,
    };
    if !is_place || text.contains('\0') {
        let expected =
            "expected a path on this machine, or `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`";
        faults.add(path, format!("{expected}, got `{}`", clipped(text)));
        return None;
    }
    Some(text)
}

fn service(name: &str, spec: &Json, faults: &mut Faults) -> Option<FeatureService> {
    let known = ["owner", "description", "features", "deadline_milliseconds", "cache"];
    let fields = Fields::open(spec, "spec", &known, faults)?;
    let mut features: Vec<ServiceFeature> = Vec::new();
    let listed = fields.list("features", true, faults);
    if listed.len() > MOST_FEATURES {
        faults.add(fields.at("features"), format!("expected at most `{MOST_FEATURES}`, got `{}`", listed.len()));
    }
    for (path, json) in listed.into_iter().take(MOST_FEATURES) {
        let Some(feature) = service_feature(json, &path, faults) else { continue };
        if features.iter().any(|one| one.input == feature.input) {
            let message = format!("expected an input of its own, got `{}` again; name it with `as`", feature.input);
            faults.add(path, message);
        }
        features.push(feature);
    }
    let deadline = fields.whole("deadline_milliseconds", 1, 60_000, faults).unwrap_or(50);
    let cache = fields.any("cache").and_then(|json| {
        let known = ["maximum_age_milliseconds", "maximum_megabytes"];
        let fields = Fields::open(json, &fields.at("cache"), &known, faults)?;
        let age = fields.whole("maximum_age_milliseconds", 0, LONGEST_SECONDS * 1000, faults).unwrap_or(1000);
        let megabytes = fields.whole("maximum_megabytes", 1, 65_536, faults).unwrap_or(64);
        Some(CacheSettings { maximum_age: Duration::from_millis(age), maximum_bytes: megabytes << 20 })
    });
    let owner = fields.text("owner", faults);
    Some(FeatureService {
        name: name.to_owned(),
        owner: owner?.to_owned(),
        features,
        deadline: Duration::from_millis(deadline),
        cache,
    })
}

fn service_feature(json: &Json, path: &str, faults: &mut Faults) -> Option<ServiceFeature> {
    let (reference, input, path) = match json {
        Json::String(reference) => (reference.as_str(), None, path.to_owned()),
        other => {
            let fields = Fields::open(other, path, &["feature", "as"], faults)?;
            (fields.text("feature", faults)?, fields.optional_text("as", faults), fields.at("feature"))
        }
    };
    let parts = reference.split_once(':').filter(|(view, feature)| !view.is_empty() && !feature.contains(':'));
    let Some((view, feature)) = parts.filter(|(_, feature)| !feature.is_empty()) else {
        faults.add(path, format!("expected `VIEW:FEATURE`, got `{}`", clipped(reference)));
        return None;
    };
    let input = input.unwrap_or(feature).to_owned();
    Some(ServiceFeature { view: view.to_owned(), feature: feature.to_owned(), input })
}
