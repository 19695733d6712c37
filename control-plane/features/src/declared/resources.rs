//! The resources, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Fallback;
use crate::data_type::FeatureType;
use crate::entity_key::{KeyLayout, KeyType};
use crate::store::RedisAddress;

/// A thing that features are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Name.
    pub name: String,
    /// Join key: the name under which requests and sources give its values.
    pub key: String,
    /// Type of the join key.
    pub key_type: KeyType,
    /// Who answers for it.
    pub owner: Option<String>,
}

/// Where features are read when they are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreDeclaration {
    /// Name.
    pub name: String,
    /// Which store, and how it is reached.
    pub kind: StoreKind,
}

/// Which store, and how it is reached. Credentials stand in files, never here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In this process, durable in a file.
    Embedded {
        /// The file.
        path: PathBuf,
    },
    /// What Feast materialised into Redis, read without Feast.
    FeastRedis {
        /// The server.
        address: RedisAddress,
        /// Feast's project.
        project: String,
        /// Feast's `entity_key_serialization_version`: 2 or 3.
        key_version: u8,
    },
    /// What Feast materialised into SQLite, read without Feast.
    FeastSqlite {
        /// The database.
        path: PathBuf,
        /// Feast's project.
        project: String,
        /// Feast's `entity_key_serialization_version`: 2 or 3.
        key_version: u8,
    },
    /// Redis hashes: one a row, its fields the features as text.
    RedisHash {
        /// The server.
        address: RedisAddress,
        /// Key of a row, in which `{view}` and `{JOIN_KEY}` are replaced.
        key: String,
        /// Field with the event time: seconds since the epoch, with a fraction if need be, or RFC 3339.
        event_time: Option<String>,
    },
    /// An online store over HTTP.
    Http(HttpStoreDeclaration),
}

impl StoreKind {
    /// Whether it can tell from when a row is, so that a maximum age means something.
    pub(super) const fn tells_times(&self) -> bool {
        !matches!(
            self,
            Self::RedisHash { event_time: None, .. }
                | Self::Http(HttpStoreDeclaration { dialect: HttpDialect::Hopsworks { .. }, .. })
        )
    }
}

/// An online store over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpStoreDeclaration {
    /// Whose interface.
    pub dialect: HttpDialect,
    /// `http://HOST:PORT` or `https://HOST`, without credentials.
    pub url: String,
    /// File with the token or key.
    pub token_file: Option<PathBuf>,
}

impl HttpStoreDeclaration {
    /// The same, its file found from `folder` where its path is relative.
    pub(crate) fn within(&self, folder: &Path) -> Self {
        Self { token_file: self.token_file.as_ref().map(|file| folder.join(file)), ..self.clone() }
    }
}

/// Whose interface an HTTP store speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpDialect {
    /// Feast's feature server.
    Feast,
    /// Hopsworks' REST server; a view is a feature view of the same name.
    Hopsworks {
        /// Feature store of the project.
        feature_store: String,
        /// Version of its feature views.
        version: u32,
    },
    /// Tecton.
    Tecton {
        /// Workspace.
        workspace: String,
        /// Its feature service, which has the features of every view of the store.
        feature_service: String,
    },
    /// Amazon SageMaker; a view is a feature group of the same name with one join key.
    SageMaker {
        /// Region that requests are signed for.
        region: String,
        /// Name of the groups' event time feature.
        event_time: String,
    },
    /// Google Vertex AI; a view is a feature view of the same name.
    Vertex {
        /// `projects/PROJECT/locations/LOCATION/featureOnlineStores/STORE`.
        store: String,
    },
}

/// One feature of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Name, unique in its view.
    pub name: String,
    /// Type of its values.
    pub data_type: FeatureType,
    /// How old a value may be when it is served; its own or the view's.
    pub maximum_age: Option<Duration>,
    /// What happens when there is no usable value.
    pub fallback: Fallback,
}

/// Features about the same entities that are written together.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureView {
    /// Name.
    pub name: String,
    /// Names of its entities.
    pub entities: Vec<String>,
    /// Join keys of its entities.
    pub keys: KeyLayout,
    /// Name of its online store.
    pub store: String,
    /// Who answers for it.
    pub owner: String,
    /// How old its rows may be when they are served.
    pub maximum_age: Option<Duration>,
    /// Its features.
    pub features: Vec<Feature>,
    /// Where its rows come from and how their columns are called; as they are declared where it does not say.
    pub source: Option<Source>,
    /// Folder, on a disk or in a bucket, that keeps its past, one Parquet file a day; none where its source is its past.
    pub offline: Option<String>,
}

impl FeatureView {
    /// Place of a feature.
    #[must_use]
    pub fn place(&self, feature: &str) -> Option<usize> {
        self.features.iter().position(|one| one.name == feature)
    }

    /// Types of all features.
    #[must_use]
    pub fn types(&self) -> Arc<[FeatureType]> {
        self.features.iter().map(|feature| feature.data_type).collect()
    }
}

/// Where a view's rows come from, and how their columns are called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Parquet or CSV: a file, a folder of files, or a pattern with `*`, `?` and `**`; none where rows are only put.
    pub path: Option<String>,
    /// Column with the time from which the row is true.
    pub event_time: String,
    /// Column with the time when the row was written: of rows of one key and event time the newest counts.
    pub created_time: Option<String>,
    /// Columns of features and join keys whose names differ.
    pub columns: BTreeMap<String, String>,
}

impl Source {
    /// The column of a feature or join key.
    #[must_use]
    pub fn column<'a>(&'a self, name: &'a str) -> &'a str {
        self.columns.get(name).map_or(name, String::as_str)
    }
}

/// One feature of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFeature {
    /// Name of the view.
    pub view: String,
    /// Name of the feature.
    pub feature: String,
    /// Name of the model's input that takes it.
    pub input: String,
}

impl ServiceFeature {
    /// `view:feature`.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.view, self.feature)
    }
}

/// What a service remembers of rows that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// For how long a row is served without asking the store again.
    pub maximum_age: Duration,
    /// Bytes held at most.
    pub maximum_bytes: u64,
}

/// The features that a model asks for together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureService {
    /// Name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Its features, in the order of its columns.
    pub features: Vec<ServiceFeature>,
    /// How long a lookup may take where the request has no shorter deadline.
    pub deadline: Duration,
    /// What it remembers; none where it always asks.
    pub cache: Option<CacheSettings>,
}
