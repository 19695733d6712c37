//! Where what lies in a model repository can be had again, as the registry knows it.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::names::VersionName;
use crate::registry::Registry;
use crate::rows;

/// Sources by the digest of a version's folder in a model repository.
#[derive(Clone, Debug, Default)]
pub struct KnownSources {
    by_digest: BTreeMap<Digest, Vec<(VersionName, String)>>,
}

impl Registry {
    /// The sources of all versions: the pinned reference of what was pulled, `registry:MODEL/VERSION` of what was added here.
    ///
    /// # Errors
    /// None of its own.
    pub fn sources(&self) -> Result<KnownSources, RegistryError> {
        self.read(|transaction| {
            let mut by_digest: BTreeMap<Digest, Vec<(VersionName, String)>> = BTreeMap::new();
            for version in rows::versions(transaction, None)? {
                let pinned = version.facts.origin.map(|origin| origin.pinned);
                let source = pinned.unwrap_or_else(|| format!("registry:{}", version.name));
                let digest = rows::manifest(transaction, &version.digest)?.laid_digest();
                by_digest.entry(digest).or_default().push((version.name, source));
            }
            Ok(KnownSources { by_digest })
        })
    }
}

impl KnownSources {
    /// Where this content can be had again: that of the very version where the registry has it, else of any other.
    #[must_use]
    pub fn find(&self, model: &str, number: u64, digest: &Digest) -> Option<String> {
        let known = self.by_digest.get(digest)?;
        let same = known.iter().find(|(name, _)| name.model == model && name.number == number);
        same.or_else(|| known.first()).map(|(_, source)| source.clone())
    }
}
