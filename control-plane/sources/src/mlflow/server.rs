//! A tracking server: asked with bounded GETs, with the credentials that are set for it.

use http::HeaderValue;
use serde_json::Value;
use url::Url;

use super::server_error::{Question, judged};
use crate::credentials::basic;
use crate::egress::{Asked, WebClient};
use crate::{Credentials, Limits, SourceError, SourceErrorCode};

/// A tracking server.
#[derive(Clone, Debug)]
pub(crate) struct MlflowServer {
    client: WebClient,
    tracking: Url,
    authorization: Option<HeaderValue>,
    limits: Limits,
}

/// The tracking server's URL that is set.
fn tracking_url(credentials: &Credentials) -> Result<Url, SourceError> {
    let refused = |message: &str| {
        SourceError::new(
            SourceErrorCode::InvalidSetting,
            message,
            "set MLFLOW_TRACKING_URI to the tracking server, for instance https://mlflow.example.com",
        )
    };
    let text = credentials.value("MLFLOW_TRACKING_URI").ok_or_else(|| refused("no MLflow server is set"))?;
    let url = Url::parse(text).map_err(|_| refused("MLFLOW_TRACKING_URI is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "MLFLOW_TRACKING_URI holds a user name or password: use MLFLOW_TRACKING_USERNAME and _PASSWORD",
        ));
    }
    if !["https", "http"].contains(&url.scheme()) || url.query().is_some() {
        return Err(refused("MLFLOW_TRACKING_URI is not the http or https address of a server"));
    }
    Ok(url)
}

impl MlflowServer {
    /// The tracking server that `credentials` name.
    pub(crate) fn new(client: &WebClient, credentials: &Credentials, limits: Limits) -> Result<Self, SourceError> {
        let tracking = tracking_url(credentials)?;
        let token = credentials.value("MLFLOW_TRACKING_TOKEN");
        let user = credentials.value("MLFLOW_TRACKING_USERNAME");
        let authorization = match (token, user) {
            (Some(token), _) => HeaderValue::try_from(format!("Bearer {token}")).ok(),
            (None, Some(user)) => basic(user, credentials.value("MLFLOW_TRACKING_PASSWORD").unwrap_or_default()),
            (None, None) => credentials.basic_for_host(tracking.host_str().unwrap_or_default()),
        };
        Ok(Self { client: client.clone(), tracking, authorization, limits })
    }

    /// `BASE/api/2.0/SERVICE/SEGMENTS…`, every segment encoded.
    pub(super) fn url(&self, service: &str, segments: &[&str]) -> Url {
        let mut url = self.tracking.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "2.0", service]).extend(segments);
        }
        url
    }

    /// A GET of `url`, with credentials.
    pub(super) fn asked(&self, url: Url) -> Asked {
        Asked::get(url).with_authorization(self.authorization.as_ref())
    }

    /// Its address, which holds no credentials.
    pub(super) const fn tracking(&self) -> &Url {
        &self.tracking
    }

    pub(super) const fn client(&self) -> &WebClient {
        &self.client
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// The answer to a GET of `/api/2.0/mlflow/PATH` with `query`.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        question: Question<'_>,
    ) -> Result<Value, SourceError> {
        let mut url = self.url("mlflow", path);
        url.query_pairs_mut().extend_pairs(query);
        self.document(url, question).await
    }

    /// The document at `url`, which is one of this server's.
    pub(super) async fn document(&self, url: Url, question: Question<'_>) -> Result<Value, SourceError> {
        let answer = self.client.follow(self.asked(url)).await?;
        let (status, host) = (answer.status(), answer.host().to_owned());
        let document = answer.document(self.limits.document_bytes).await?;
        judged(status, &host, &document, question, self.authorization.is_some())
    }
}
