//! Where tables lie: the one seam between them and the world.
//!
//! A storage lists files, reads any part of one, makes one that is whole or not there, and removes one. Disks are here, and
//! the objects of buckets.

mod local;
mod objects;
mod pattern;
mod places;
mod stream;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::OfflineError;

pub use local::LocalStorage;
pub use objects::ObjectStorage;
pub use places::Places;

pub(crate) use objects::{code_of, is_object};
pub(crate) use stream::FileStream;

/// A place for tables.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The files that a path means, sorted: a file itself, everything in a folder, everything that a pattern fits.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Unavailable` when it cannot be read.
    fn list(&self, path: &str) -> Result<Vec<String>, OfflineError>;

    /// A file, to be read in parts.
    ///
    /// # Errors
    /// `NotFound`, `Unavailable`.
    fn open(&self, name: &str) -> Result<Arc<dyn RandomRead>, OfflineError>;

    /// A new file, which takes the place of one of that name when it is finished and not before.
    ///
    /// # Errors
    /// `Unavailable`.
    fn create(&self, name: &str) -> Result<Box<dyn NewFile>, OfflineError>;

    /// Refuses a place for a file that somebody asked for: a folder, a name in a folder that is not there. (Where this crate
    /// chooses the place, [`Self::create`] makes its folders.)
    ///
    /// # Errors
    /// `InvalidArgument`, `NotFound`.
    fn check_place(&self, name: &str) -> Result<(), OfflineError>;

    /// Whether two names are those of one file that is there, also by links and other spellings.
    fn are_same(&self, one: &str, other: &str) -> bool;

    /// Removes a file; false where there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    fn remove(&self, name: &str) -> Result<bool, OfflineError>;
}

/// A file that is read in parts. What it holds does not change while it is open.
pub trait RandomRead: fmt::Debug + Send + Sync {
    /// Bytes in it.
    fn length(&self) -> u64;

    /// A text that is another when the file was written anew.
    fn version(&self) -> String;

    /// How many bytes are best asked for at once, where what follows is wanted too.
    fn ahead(&self) -> usize {
        1 << 20
    }

    /// `length` bytes from `start` on.
    ///
    /// # Errors
    /// Also when fewer are there.
    fn read(&self, start: u64, length: usize) -> std::io::Result<Bytes>;
}

/// A file under way. Dropped without [`NewFile::finish`] it leaves nothing.
pub trait NewFile: Write + Send {
    /// Makes it durable under its name.
    ///
    /// # Errors
    /// When the disk or the storage fails; then the name is as it was.
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}
