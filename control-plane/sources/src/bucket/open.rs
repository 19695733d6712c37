//! Opens a bucket with the credentials and endpoint that are set; says what is missing before anybody is asked.
//!
//! The variables are those that each provider's own tools read. No instance metadata service is asked for credentials:
//! they come from the environment or a file.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ObjectStore, RetryConfig};

use super::aws_profile;
use super::connection::GuardedConnection;
use crate::{BucketProvider, BucketReference, Credentials, SourceError, SourceErrorCode};

/// Opens the bucket of `reference`; connects to nobody yet.
pub(super) fn open(
    reference: &BucketReference,
    credentials: &Credentials,
    connection: GuardedConnection,
) -> Result<Arc<dyn ObjectStore>, SourceError> {
    match reference.provider {
        BucketProvider::S3 => s3(reference, credentials, connection),
        BucketProvider::Gcs => gcs(reference, credentials, connection),
        BucketProvider::Azure => azure(reference, credentials, connection),
    }
}

/// A download tries again by itself, and continues; what is left here is listing.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 2, ..RetryConfig::default() }
}

fn is_set(credentials: &Credentials, name: &str) -> bool {
    credentials.value(name).is_some_and(|value| ["1", "true", "yes"].contains(&value.to_ascii_lowercase().as_str()))
}

fn s3(
    reference: &BucketReference,
    credentials: &Credentials,
    connection: GuardedConnection,
) -> Result<Arc<dyn ObjectStore>, SourceError> {
    let first = |names: &[&str]| names.iter().find_map(|name| credentials.value(name));
    let mut builder = AmazonS3Builder::new()
        .with_http_connector(connection)
        .with_retry(retry())
        .with_bucket_name(&reference.bucket)
        // Plain http is judged when connecting, by the allow list.
        .with_allow_http(true)
        .with_region(first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or("us-east-1"));
    if let Some(endpoint) = first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"]) {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = if is_set(credentials, "AWS_SKIP_SIGNATURE") {
        builder.with_skip_signature(true)
    } else if let (Some(id), Some(secret)) =
        (credentials.value("AWS_ACCESS_KEY_ID"), credentials.value("AWS_SECRET_ACCESS_KEY"))
    {
        let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        match credentials.value("AWS_SESSION_TOKEN") {
            Some(token) => builder.with_token(token),
            None => builder,
        }
    } else if let Some(path) = credentials.value("AWS_SHARED_CREDENTIALS_FILE") {
        let text = std::fs::read_to_string(path).map_err(|error| {
            SourceError::new(
                SourceErrorCode::InvalidSetting,
                "AWS_SHARED_CREDENTIALS_FILE cannot be read",
                "name a readable file",
            )
            .with_operator_detail(error)
        })?;
        let keys = aws_profile::keys(&text, credentials.value("AWS_PROFILE").unwrap_or("default"))?;
        let key = |name: &str| keys.get(name).map(crate::Secret::expose).unwrap_or_default();
        let builder =
            builder.with_access_key_id(key("aws_access_key_id")).with_secret_access_key(key("aws_secret_access_key"));
        if key("aws_session_token").is_empty() { builder } else { builder.with_token(key("aws_session_token")) }
    } else if let (Some(file), Some(role)) =
        (credentials.value("AWS_WEB_IDENTITY_TOKEN_FILE"), credentials.value("AWS_ROLE_ARN"))
    {
        builder.with_config(AmazonS3ConfigKey::WebIdentityTokenFile, file).with_config(AmazonS3ConfigKey::RoleArn, role)
    } else {
        return Err(missing(
            "S3",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_SHARED_CREDENTIALS_FILE, or AWS_WEB_IDENTITY_TOKEN_FILE with \
             AWS_ROLE_ARN; for a public bucket AWS_SKIP_SIGNATURE=true",
        ));
    };
    builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| unusable(&error))
}

fn gcs(
    reference: &BucketReference,
    credentials: &Credentials,
    connection: GuardedConnection,
) -> Result<Arc<dyn ObjectStore>, SourceError> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_http_connector(connection)
        .with_retry(retry())
        .with_bucket_name(&reference.bucket);
    if let Some(endpoint) = credentials.value("STORAGE_EMULATOR_HOST") {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    builder = if is_set(credentials, "GOOGLE_SKIP_SIGNATURE") {
        builder.with_skip_signature(true)
    } else if let Some(key) = credentials.value("GOOGLE_SERVICE_ACCOUNT_KEY") {
        builder.with_service_account_key(key)
    } else if let Some(path) = credentials.value("GOOGLE_APPLICATION_CREDENTIALS") {
        builder.with_application_credentials(path)
    } else {
        return Err(missing(
            "Google Cloud Storage",
            "set GOOGLE_APPLICATION_CREDENTIALS to a file, or GOOGLE_SERVICE_ACCOUNT_KEY to its content; for a public bucket \
             GOOGLE_SKIP_SIGNATURE=true",
        ));
    };
    builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| unusable(&error))
}

fn azure(
    reference: &BucketReference,
    credentials: &Credentials,
    connection: GuardedConnection,
) -> Result<Arc<dyn ObjectStore>, SourceError> {
    let account = credentials.value("AZURE_STORAGE_ACCOUNT_NAME").ok_or_else(|| {
        missing("Azure Blob Storage", "set AZURE_STORAGE_ACCOUNT_NAME, and a key, a SAS token or a client for it")
    })?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_http_connector(connection)
        .with_retry(retry())
        .with_allow_http(true)
        .with_account(account)
        .with_container_name(&reference.bucket);
    if let Some(endpoint) = credentials.value("AZURE_STORAGE_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let client = ["AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"].map(|name| credentials.value(name));
    builder = if is_set(credentials, "AZURE_SKIP_SIGNATURE") {
        builder.with_skip_signature(true)
    } else if let Some(key) = credentials.value("AZURE_STORAGE_ACCOUNT_KEY") {
        builder.with_access_key(key)
    } else if let Some(token) = credentials.value("AZURE_STORAGE_SAS_TOKEN") {
        builder.with_config(AzureConfigKey::SasKey, token)
    } else if let [Some(id), Some(secret), Some(tenant)] = client {
        builder.with_client_secret_authorization(id, secret, tenant)
    } else {
        return Err(missing(
            "Azure Blob Storage",
            "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with _SECRET and AZURE_TENANT_ID; for a \
             public container AZURE_SKIP_SIGNATURE=true",
        ));
    };
    builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| unusable(&error))
}

fn missing(whose: &str, action: &str) -> SourceError {
    SourceError::new(SourceErrorCode::CredentialsMissing, format!("no credentials for {whose} are set"), action)
}

/// The library's words may hold what was set; they are left out.
fn unusable(error: &object_store::Error) -> SourceError {
    let kind = match error {
        object_store::Error::UnknownConfigurationKey { .. } => "a setting is unknown",
        _ => "a setting cannot be read",
    };
    SourceError::new(
        SourceErrorCode::InvalidSetting,
        format!("the storage's settings cannot be used: {kind}"),
        "check the endpoint's URL, the region and the form of the keys",
    )
}
