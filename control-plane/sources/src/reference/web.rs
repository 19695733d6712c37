//! `https://HOST/PATH`: one file, or an archive by its ending; `#sha256=HEX` pins its bytes.
//!
//! `http://` is the same without encryption; it is used only for places on the allow list.

use std::fmt;

use url::Url;

use super::secret_parameter::names_a_secret;
use super::{credential_within, decoded, invalid};
use crate::artifact_path::shown;
use crate::{ArtifactPath, Sha256Digest, SourceError, SourceErrorCode};

/// A file or archive of a web server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebReference {
    url: Url,
    file_name: ArtifactPath,
    sha256: Option<Sha256Digest>,
}

impl WebReference {
    /// Where it is: http or https, no user, no fragment.
    #[must_use]
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Last part of the path, decoded: the file's name.
    #[must_use]
    pub const fn file_name(&self) -> &ArtifactPath {
        &self.file_name
    }

    /// Digest that the bytes must have.
    #[must_use]
    pub const fn sha256(&self) -> Option<Sha256Digest> {
        self.sha256
    }

    /// Whether the file is a tar archive that is unpacked: by its ending.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        let name = self.file_name.as_str().to_ascii_lowercase();
        [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
    }
}

pub(super) fn parse(text: &str) -> Result<WebReference, SourceError> {
    // `Url` drops empty hosts and back slashes silently; what is written is looked at first.
    let authority = text
        .split_once("://")
        .map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default())
        .unwrap_or_default();
    if authority.contains('@') {
        return Err(credential_within("https"));
    }
    if authority.is_empty() || text.contains('\\') {
        return Err(invalid("the URL has no host, or a back slash".to_owned()));
    }
    // Its query may hold a secret, which must not be repeated before it is looked at.
    let before_query = text.split('?').next().unwrap_or_default();
    let mut url = Url::parse(text).map_err(|error| invalid(format!("`{}` is no URL: {error}", shown(before_query))))?;
    let sha256 = match url.fragment() {
        None => None,
        Some(fragment) => {
            let digest = fragment
                .strip_prefix("sha256=")
                .ok_or_else(|| invalid(format!("expected the fragment sha256=HEX, got `{}`", shown(fragment))))?;
            Some(Sha256Digest::parse(digest)?)
        }
    };
    if let Some(name) = url.query_pairs().map(|(name, _)| name).find(|name| names_a_secret(name)) {
        return Err(secret_in_query(&name));
    }
    url.set_fragment(None);
    let last = url.path_segments().and_then(Iterator::last).unwrap_or_default();
    let name = decoded(last)?;
    if name.is_empty() || name.contains('/') {
        return Err(invalid(format!("`{}` names no file: the path has to end in a file's name", shown(url.as_str()))));
    }
    if let Some(ending) = [".zip", ".7z", ".tar.bz2", ".tar.xz", ".tar.zst"]
        .iter()
        .find(|ending| name.to_ascii_lowercase().ends_with(**ending))
    {
        return Err(SourceError::new(
            SourceErrorCode::Unsupported,
            format!("`{ending}` archives are not read"),
            "pack the model as .tar.gz, or publish the files themselves",
        ));
    }
    Ok(WebReference { url, file_name: ArtifactPath::parse(&name)?, sha256 })
}

fn secret_in_query(name: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::InvalidReference,
        format!("the https reference holds a credential in its parameter `{}`", shown(name)),
        "references are logged and kept: publish the file where it needs none, or in a bucket or an MLflow server, whose \
         credentials come from the environment",
    )
}

impl fmt::Display for WebReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.url.as_str())?;
        self.sha256.map_or(Ok(()), |digest| write!(formatter, "#sha256={digest}"))
    }
}
