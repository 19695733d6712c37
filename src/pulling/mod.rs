//! From a place elsewhere to a version in the local registry, and from there into a model repository.
//!
//! The commands and the watch share this; neither network nor store is known beyond `hanok-sources` and `hanok-registry`.
//! A pull that fails at any point leaves the registry and the repository as they were; what was downloaded waits in the
//! registry's folder `fetched` for the next attempt.

mod error;
mod facts;
mod fetched_folder;
mod puller;
mod whole_file;

pub(crate) use error::PullError;
pub(crate) use fetched_folder::{WAITS as FETCHED_WAITS, collect as collect_fetched};
pub(crate) use puller::{Pulled, Puller, WantedContent};
pub(crate) use whole_file::write as write_whole;
