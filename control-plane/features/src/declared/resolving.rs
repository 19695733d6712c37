//! From drafts to a set whose references all resolve.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::read_resources::{Body, Draft};
use super::reading::clipped;
use super::suggestion::nearest;
use super::{Feature, FeatureService, FeatureSet, FeatureView, HttpDialect, Problem, StoreKind};
use crate::entity_key::{KeyLayout, KeyType};
use crate::store::KeyTemplate;

struct Findings<'a> {
    document: usize,
    resource: String,
    problems: &'a mut Vec<Problem>,
}

impl Findings<'_> {
    fn add(&mut self, path: impl Into<String>, message: String) {
        self.problems.push(Problem {
            document: Some(self.document),
            line: None,
            resource: Some(self.resource.clone()),
            path: path.into(),
            message,
        });
    }

    fn unknown<'n>(&mut self, path: impl Into<String>, what: &str, name: &str, known: impl Iterator<Item = &'n str>) {
        let near = nearest(name, known);
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        self.add(path, format!("expected the name of {what}, got `{}`{hint}", clipped(name)));
    }
}

/// Puts drafts together; what does not resolve is a problem and left out.
pub(super) fn resolve(drafts: Vec<Draft>, problems: &mut Vec<Problem>) -> FeatureSet {
    let mut set = FeatureSet::default();
    let (mut views, mut services) = (Vec::new(), Vec::new());
    let mut first: BTreeMap<(&'static str, String), usize> = BTreeMap::new();
    for Draft { document, name, body } in drafts {
        let mut findings = Findings { document, resource: format!("{}/{name}", body.kind()), problems };
        if let Some(other) = first.insert((body.kind(), name.clone()), document) {
            findings.add("metadata.name", format!("expected a name of its own, document `{other}` has `{name}` too"));
        }
        match body {
            Body::Entity(entity) => {
                let other = set.entities.values().find(|one| one.key == entity.key && one.key_type != entity.key_type);
                if let Some(other) = other {
                    let message = format!(
                        "expected type `{}` for key `{}` as in entity `{}`, got `{}`",
                        other.key_type.as_str(),
                        entity.key,
                        other.name,
                        entity.key_type.as_str()
                    );
                    findings.add("spec.type", message);
                }
                set.entities.insert(name, entity);
            }
            Body::Store(store) => {
                set.stores.insert(name, store);
            }
            Body::View(view) => views.push((document, view)),
            Body::Service(service) => services.push((document, service)),
        }
    }
    for (document, view) in views {
        let mut findings = Findings { document, resource: format!("FeatureView/{}", view.name), problems };
        let view = resolve_view(view, &set, &mut findings);
        check_neighbours(&view, &set, &mut findings);
        set.views.insert(view.name.clone(), Arc::new(view));
    }
    for (document, service) in services {
        let mut findings = Findings { document, resource: format!("FeatureService/{}", service.name), problems };
        check_service(&service, &set, &mut findings);
        set.services.insert(service.name.clone(), Arc::new(service));
    }
    set
}

fn resolve_view(mut view: FeatureView, set: &FeatureSet, findings: &mut Findings<'_>) -> FeatureView {
    let mut keys = Vec::new();
    for (index, name) in view.entities.iter().enumerate() {
        let path = format!("spec.entities[{index}]");
        match set.entities.get(name) {
            None => findings.unknown(path, "an `Entity`", name, set.entities.keys().map(String::as_str)),
            Some(entity) if keys.iter().any(|(key, _)| *key == entity.key) => {
                findings.add(path, format!("expected join keys that differ, got `{}` again", entity.key));
            }
            Some(entity) => keys.push((entity.key.clone(), entity.key_type)),
        }
    }
    for (index, feature) in view.features.iter().enumerate() {
        if keys.iter().any(|(key, _)| *key == feature.name) {
            let message = format!("expected a name that no join key has, got `{}`", feature.name);
            findings.add(format!("spec.features[{index}].name"), message);
        }
    }
    match set.stores.get(&view.store).map(|store| &store.kind) {
        None if view.store.is_empty() => {}
        None => {
            let known = set.stores.keys().map(String::as_str);
            findings.unknown("spec.store", "an `OnlineStore`", &view.store, known);
        }
        Some(StoreKind::RedisHash { key, .. }) => {
            let template = KeyTemplate::new(key, &view.name);
            for (name, _) in keys.iter().filter(|(name, _)| !template.keys().any(|one| one == name)) {
                let message =
                    format!("expected a store whose `key` has `{{{name}}}`, that of `{}` has not", view.store);
                findings.add("spec.store", message);
            }
            for name in template.keys().filter(|name| !keys.iter().any(|(one, _)| one == name)) {
                let message = format!(
                    "expected a store whose `key` has join keys of the view, that of `{}` has `{{{name}}}`",
                    view.store
                );
                findings.add("spec.store", message);
            }
        }
        Some(StoreKind::Http(http)) => {
            if matches!(http.dialect, HttpDialect::SageMaker { .. }) && keys.len() != 1 {
                let message = format!("expected one join key for a feature group, got `{}`", keys.len());
                findings.add("spec.entities", message);
            }
            // Their interfaces are JSON, which has no bytes; Feast's server fails on them.
            for (name, _) in keys.iter().filter(|(_, key_type)| *key_type == KeyType::Bytes) {
                let message = format!("expected no join key of type `bytes` with a store over HTTP, got `{name}`");
                findings.add("spec.entities", message);
            }
        }
        Some(_) => {}
    }
    if set.stores.get(&view.store).is_some_and(|store| !store.kind.tells_times()) {
        let reason = format!("expected no maximum age: store `{}` does not tell from when a row is", view.store);
        let hint = "; a `redis_hash` tells it by `event_time`";
        let own = |(index, one): (usize, &Feature)| {
            let own = one.maximum_age.is_some() && one.maximum_age != view.maximum_age;
            own.then(|| format!("spec.features[{index}].maximum_age_seconds"))
        };
        let of_view = view.maximum_age.map(|_| "spec.maximum_age_seconds".to_owned());
        for path in of_view.into_iter().chain(view.features.iter().enumerate().filter_map(own)) {
            findings.add(path, format!("{reason}{hint}"));
        }
    }
    if let Some(source) = &view.source {
        for name in source.columns.keys() {
            let known =
                || view.features.iter().map(|one| one.name.as_str()).chain(keys.iter().map(|(key, _)| key.as_str()));
            if !known().any(|one| one == name) {
                findings.unknown(
                    format!("spec.source.columns.{}", clipped(name)),
                    "a feature or join key",
                    name,
                    known(),
                );
            }
        }
    }
    view.keys = KeyLayout::new(keys);
    view
}

/// Views that were resolved before must not have keys in Redis that this one may have.
fn check_neighbours(view: &FeatureView, set: &FeatureSet, findings: &mut Findings<'_>) {
    let Some(StoreKind::RedisHash { key, .. }) = set.stores.get(&view.store).map(|store| &store.kind) else { return };
    let template = KeyTemplate::new(key, &view.name);
    let neighbours = set.views.values().filter(|other| other.store == view.store && other.name != view.name);
    for other in neighbours.filter(|other| template.may_meet(&KeyTemplate::new(key, &other.name))) {
        let message = format!(
            "expected a `key` of store `{}` that tells its views apart, in `{key}` those of `{}` and `{}` may be the same; \
             put between `{{view}}` and a join key what is in no view's name, such as `:`",
            view.store, other.name, view.name
        );
        findings.add("spec.store", message);
    }
}

fn check_service(service: &FeatureService, set: &FeatureSet, findings: &mut Findings<'_>) {
    for (index, feature) in service.features.iter().enumerate() {
        // What a faulty view lacks is told there.
        let view = format!("FeatureView/{}", feature.view);
        if findings.problems.iter().any(|problem| problem.resource.as_ref() == Some(&view)) {
            continue;
        }
        let path = format!("spec.features[{index}]");
        match set.views.get(&feature.view) {
            None => findings.unknown(path, "a `FeatureView`", &feature.view, set.views.keys().map(String::as_str)),
            Some(view) if view.place(&feature.feature).is_none() => {
                let known = view.features.iter().map(|one| one.name.as_str());
                findings.unknown(path, &format!("a feature of view `{}`", view.name), &feature.feature, known);
            }
            Some(_) => {}
        }
    }
}
