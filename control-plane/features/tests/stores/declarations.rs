//! Declarations that several tests use, and reading with them.

use std::sync::Arc;

use hanok_features::{FeatureSet, FeatureView, KeyValue, ViewRead, read_features};

pub(crate) const ENTITIES: &str = "
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: hour}
spec: {type: int64}
---
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: plane}
spec: {key: tailnum, type: string}
";

/// A store `main` of this kind, and views in it.
pub(crate) fn declare(store: &str, views: &[(&str, &str, &str)]) -> FeatureSet {
    let mut text = format!(
        "{ENTITIES}---\napiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{{store}}}\n"
    );
    for (name, entities, features) in views {
        text += &format!(
            "---\napiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: {name}}}\n\
             spec: {{entities: [{entities}], store: main, owner: flights, features: [{features}]}}\n"
        );
    }
    read_features(&text).unwrap()
}

/// A read of every feature of a view for no keys yet.
pub(crate) fn read_of(set: &FeatureSet, view: &str) -> ViewRead {
    let view: &Arc<FeatureView> = set.view(view).unwrap();
    ViewRead::new(Arc::clone(view), (0..view.features.len()).collect())
}

/// Adds a key to a read; values in the order of the view's entities.
pub(crate) fn push_key(read: &mut ViewRead, values: &[KeyValue<'_>]) {
    let view = Arc::clone(&read.view);
    read.keys.push_with(|key| view.keys.write(|place| values[place], key).unwrap());
}
