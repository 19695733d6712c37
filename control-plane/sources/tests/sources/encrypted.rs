//! TLS: certificates of an authority of our own, refused ones, and what may not become unencrypted.

use std::fs;

use hanok_sources::{SourceErrorCode, SourceSettings, Sources};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::web_server::{Reply, WebServer, answer, ranged};
use crate::{pull, settings};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server's configuration with a certificate for `name`.
    fn certify(&self, name: &str, last_year: i32) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

#[tokio::test]
async fn certificates_decide() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(), Authority::new());
    let file = folder.path().join("authority.pem");
    fs::write(&file, ours.0.pem()).unwrap();
    let trusting = || {
        Sources::new(SourceSettings { certificate_authorities: Some(file.clone()), ..settings(&["127.0.0.1"]) })
            .unwrap()
    };
    for (number, (config, sources, expected)) in [
        (ours.certify("127.0.0.1", 2099), trusting(), None),
        (ours.certify("127.0.0.1", 2099), crate::sources(&["127.0.0.1"]), Some(SourceErrorCode::TlsRefused)),
        (other.certify("127.0.0.1", 2099), trusting(), Some(SourceErrorCode::TlsRefused)),
        (ours.certify("other.example", 2099), trusting(), Some(SourceErrorCode::TlsRefused)),
        (ours.certify("127.0.0.1", 2020), trusting(), Some(SourceErrorCode::TlsRefused)),
    ]
    .into_iter()
    .enumerate()
    {
        let server =
            WebServer::start_encrypted("127.0.0.1", config, |head, _| Reply::Bytes(ranged(head, b"model", "\"x\"")))
                .await;
        let url = server.url("/model.onnx");
        assert!(url.starts_with("https://"));
        let pulled = pull(&sources, &url, &folder.path().join(number.to_string())).await;
        assert_eq!(pulled.as_ref().err().map(|error| error.code()), expected, "{number}: {pulled:?}");
        // Whoever is not trusted is not even told what is asked for.
        assert_eq!(server.seen().is_empty(), expected.is_some());
    }
    let plain = WebServer::start("127.0.0.1", |head, _| Reply::Bytes(ranged(head, b"model", "\"x\""))).await;
    let location = format!("location: {}", plain.url("/model.onnx"));
    let server = WebServer::start_encrypted("127.0.0.1", ours.certify("127.0.0.1", 2099), move |_, _| {
        Reply::Bytes(answer("302 Found", &[&location], b""))
    })
    .await;
    let error = pull(&trusting(), &server.url("/model.onnx"), &folder.path().join("down")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::RedirectRefused, "{error}");
    assert!(plain.seen().is_empty());
    // The greeting of TLS means nothing to a plain server, which waits for the rest of a request.
    let mixed = format!("https://{}/model.onnx", plain.address);
    let error = pull(&trusting(), &mixed, &folder.path().join("mixed")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::TimedOut, "{error}");
}

#[tokio::test]
async fn authorities_that_cannot_be_read_are_a_setting_to_correct() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    for content in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let settings = SourceSettings { certificate_authorities: Some(file.clone()), ..settings(&[]) };
        assert_eq!(Sources::new(settings).unwrap_err().code(), SourceErrorCode::InvalidSetting);
    }
}
