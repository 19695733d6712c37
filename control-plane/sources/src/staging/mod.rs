//! Where files are made before anybody sees them.
//!
//! For the destination `D` everything happens in its sibling `D.partial/`: downloads in `incoming/`, each moved to
//! `files/` when it is complete, verified and on the disk. When all are, a receipt `D.receipt.json` is written and
//! `files/` is renamed to `D`: the one moment at which something becomes visible, and it is atomic. Whoever dies before
//! leaves a `D.partial/` that the next fetch continues; whoever dies after left everything done.
//!
//! `D` and `D.partial/` are on one file system because they are siblings. One fetch at a time holds `D.partial/lock`.

mod durable;
mod folder;
mod lock;
mod part_file;
mod receipt;
mod writer;

pub(crate) use durable::sync_folder;
pub(crate) use folder::{FILES, Opened, StagingFolder};
pub(crate) use part_file::PartFile;
pub use receipt::FetchedFile;
pub(crate) use receipt::hash_file;
pub(crate) use writer::{FileWriter, Written, joined};
