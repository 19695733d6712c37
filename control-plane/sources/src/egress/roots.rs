//! Certificates that are trusted: this system's, and those of a file that the operator names.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::{SourceError, SourceErrorCode};

/// TLS 1.2 and 1.3 with the system's roots and those of `authorities`, a PEM file.
pub(super) fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, SourceError> {
    let mut roots = RootCertStore::empty();
    // A machine without roots still reaches places on the allow list; https will say that the issuer is unknown.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = authorities {
        let refused = |error: &dyn std::fmt::Display| {
            SourceError::new(
                SourceErrorCode::InvalidSetting,
                "the file of certificate authorities cannot be used",
                "name a readable PEM file with at least one certificate",
            )
            .with_operator_detail(error)
        };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| refused(&format!("{}: {error}", path.display())))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(refused(&format!("{}: no certificate in it", path.display())));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(|error| {
            SourceError::new(SourceErrorCode::TlsRefused, "TLS cannot be set up", "report this")
                .with_operator_detail(error)
        })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
