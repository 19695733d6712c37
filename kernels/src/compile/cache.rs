//! Compiled kernels in a folder: found by what they were made of, trusted only when their digest fits.
//!
//! Invariant: a file under its final name is whole (written beside it, flushed and renamed), and one that is not (a disk's
//! fault, a hand's) is recognised and made again. Never an obstacle: a folder that cannot be read or written costs time.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// First bytes of every file; the number changes with the layout.
const MAGIC: &[u8; 16] = b"hanok-cubin-0001";

const DIGEST_BYTES: usize = 32;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a compiled program was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheKey {
    name: String,
}

impl CacheKey {
    /// `family` and `architecture` stand in the file's name; source and compiler version in its digest.
    #[must_use]
    pub fn new(family: &str, source: &str, architecture: &str, compiler: (u32, u32)) -> Self {
        let mut digest = Sha256::new();
        // Lengths first, so that no two lists of parts look the same.
        for part in [source, architecture, &format!("{}.{}", compiler.0, compiler.1)] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let digest: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{family}-{architecture}-{digest}.cubin") }
    }

    /// Name of the file.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.name
    }
}

/// What a look into the folder gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The program as it was stored.
    Found(Vec<u8>),
    /// No such file, or none that can be read.
    Absent,
    /// A file that is not what was stored.
    Corrupted,
}

/// A folder of compiled programs; several processes may share it.
#[derive(Clone, Debug)]
pub struct CubinCache {
    folder: PathBuf,
}

impl CubinCache {
    /// The cache in `folder`, which is made when something is stored.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Looks for a program.
    #[must_use]
    pub fn look_up(&self, key: &CacheKey) -> Lookup {
        let Ok(bytes) = fs::read(self.folder.join(&key.name)) else {
            return Lookup::Absent;
        };
        let Some((digest, image)) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(DIGEST_BYTES))
        else {
            return Lookup::Corrupted;
        };
        if image.is_empty() || digest_of(image)[..] != *digest {
            Lookup::Corrupted
        } else {
            Lookup::Found(image.to_vec())
        }
    }

    /// Stores a program, in place of whatever is there.
    ///
    /// # Errors
    /// Those of the file system; nothing is left under the final name then.
    pub fn store(&self, key: &CacheKey, image: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let partial = self.folder.join(format!(".{}.{}.{number}.partial", key.name, process::id()));
        let written = write_whole(&partial, image).and_then(|()| fs::rename(&partial, self.folder.join(&key.name)));
        if written.is_err() {
            // The first error is the one to tell; a partial file is never read.
            drop(fs::remove_file(&partial));
        }
        written
    }
}

fn write_whole(path: &Path, image: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&digest_of(image))?;
    file.write_all(image)?;
    file.sync_all()
}

fn digest_of(image: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::digest(image).into()
}
