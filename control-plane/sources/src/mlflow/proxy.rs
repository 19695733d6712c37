//! Files behind the tracking server: its artifact proxy lists one folder at a time and gives files with ranges.

use serde_json::Value;

use super::server::MlflowServer;
use super::server_error::Question;
use crate::artifact_path::shown;
use crate::download::{Remote, RemoteStream};
use crate::listing::{Listing, too_many_files};
use crate::web::open_ranged;
use crate::{ArtifactPath, ListedFile, SourceError};

/// Service of the artifact proxy.
const SERVICE: &str = "mlflow-artifacts";

/// Files below one path of the proxy.
#[derive(Clone, Debug)]
pub(crate) struct ProxiedFiles {
    pub(crate) server: MlflowServer,
    pub(crate) below: ArtifactPath,
}

impl ProxiedFiles {
    /// Everything below the path. Folders are asked for one after the other, no more of them than files are allowed.
    pub(super) async fn list(&self) -> Result<Vec<ListedFile>, SourceError> {
        let limits = self.server.limits();
        let mut listing = Listing::new(limits);
        let mut folders = vec![String::new()];
        let mut asked = 0;
        while let Some(folder) = folders.pop() {
            asked += 1;
            if asked > limits.files {
                return Err(too_many_files(limits.files));
            }
            for entry in self.entries(&folder).await? {
                // The name within the folder; some servers give the path from the folder asked for, which is the same.
                let name = entry["path"].as_str().unwrap_or_default();
                let path = ArtifactPath::parse(&format!("{folder}{name}"))?;
                if entry["is_dir"].as_bool() == Some(true) {
                    folders.push(format!("{path}/"));
                    if folders.len() > limits.files {
                        return Err(too_many_files(limits.files));
                    }
                } else {
                    listing.add(ListedFile { path, bytes: size(&entry["file_size"]), sha256: None, mark: None })?;
                }
            }
        }
        Ok(listing.finish())
    }

    async fn entries(&self, folder: &str) -> Result<Vec<Value>, SourceError> {
        let mut url = self.server.url(SERVICE, &["artifacts"]);
        let path = format!("{}/{}", self.below, folder.trim_end_matches('/'));
        url.query_pairs_mut().append_pair("path", path.trim_end_matches('/'));
        let mut answer = self.server.document(url, Question::Plain("files of the version")).await?;
        Ok(match answer["files"].take() {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        })
    }

    /// The whole of one small file.
    pub(super) async fn read(&self, path: &ArtifactPath, most: u64) -> Result<bytes::Bytes, SourceError> {
        let answer = self.server.client().follow(self.server.asked(self.file_url(path))).await?;
        let what = format!("`{}`", shown(path.as_str()));
        match crate::web::refused_status(answer.status(), answer.host(), &what, true) {
            Some(error) => Err(error),
            None => answer.document(most).await,
        }
    }

    fn file_url(&self, path: &ArtifactPath) -> url::Url {
        let segments: Vec<&str> = std::iter::once("artifacts")
            .chain(self.below.as_str().split('/'))
            .chain(path.as_str().split('/'))
            .collect();
        self.server.url(SERVICE, &segments)
    }
}

/// Sizes come as numbers, and as text where protobuf wrote them.
fn size(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

impl Remote for ProxiedFiles {
    async fn open(&self, file: &ListedFile, offset: u64, mark: Option<&str>) -> Result<RemoteStream, SourceError> {
        let asked = self.server.asked(self.file_url(&file.path));
        open_ranged(self.server.client(), asked, &format!("`{}`", file.path), offset, mark).await
    }
}
