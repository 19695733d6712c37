//! Unpacks a tar archive, gzipped or not: plain files only, every name checked, files and bytes bounded, memory too.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use crate::artifact_path::shown;
use crate::digest::Sha256Stream;
use crate::listing::{Listing, too_large};
use crate::staging::FetchedFile;
use crate::{ArtifactPath, Limits, ListedFile, SourceError, SourceErrorCode};

/// Most bytes that the headers before one file may have: long names and extended headers are read into memory whole.
const MOST_HEADER_BYTES: u64 = 1 << 20;

/// Unpacks `archive` into the empty folder `target`. Blocking.
pub(crate) fn unpack(archive: &Path, target: &Path, limits: Limits) -> Result<Vec<FetchedFile>, SourceError> {
    let opened = || -> io::Result<Box<dyn Read>> {
        let mut file = File::open(archive)?;
        let mut start = [0; 2];
        let read = file.read(&mut start)?;
        let file = BufReader::new(File::open(archive)?);
        Ok(if read == 2 && start == [0x1f, 0x8b] { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
    };
    let reader = opened().map_err(|error| SourceError::disk("reading the archive", &error))?;
    // Headers and padding count too, so that an archive of nothing but headers ends.
    let headers = (limits.files as u64).saturating_mul(4096);
    let to_memory = Cell::new(Some(MOST_HEADER_BYTES));
    let bounded = Bounded { reader, left: limits.bytes.saturating_add(headers), to_memory: &to_memory };
    let mut archive = tar::Archive::new(bounded);
    let mut listing = Listing::new(limits);
    let mut files = Vec::new();
    let mut entries = archive.entries().map_err(|error| broken(&error, limits))?;
    // What is read while the next entry is looked for stays in memory; what is read of an entry passes through.
    while let Some(entry) = {
        to_memory.set(Some(MOST_HEADER_BYTES));
        entries.next()
    } {
        to_memory.set(None);
        let mut entry = entry.map_err(|error| broken(&error, limits))?;
        let kind = entry.header().entry_type();
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|error| broken(&io::Error::other(error), limits))?;
        let name = name.strip_prefix("./").unwrap_or(&name);
        match kind {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory => {
                // Only checked: folders come into being with their files.
                if !["", "."].contains(&name) {
                    ArtifactPath::parse(name.trim_end_matches('/'))?;
                }
                pass(&mut entry, limits)?;
                continue;
            }
            EntryType::XGlobalHeader => {
                pass(&mut entry, limits)?;
                continue;
            }
            _ => return Err(special(name, "a link, a device or another special file")),
        }
        if is_sparse(&mut entry).map_err(|error| broken(&error, limits))? {
            return Err(special(name, "a sparse file, whose bytes are not all in the archive"));
        }
        let path = ArtifactPath::parse(name)?;
        listing.add(ListedFile { path: path.clone(), bytes: Some(entry.size()), sha256: None, mark: None })?;
        files.push(write(&mut entry, target, path, limits)?);
    }
    to_memory.set(None);
    // Past the archive's own end: only there does gzip's checksum say whether all of it was right.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(|error| broken(&error, limits))?;
    if listing.len() == 0 {
        return Err(broken(&io::Error::other("no file in it"), limits));
    }
    Ok(files)
}

/// Reads the rest of an entry that is not taken.
fn pass(entry: &mut impl Read, limits: Limits) -> Result<(), SourceError> {
    io::copy(entry, &mut io::sink()).map(drop).map_err(|error| broken(&error, limits))
}

/// Whether GNU tar wrote a sparse file as a plain one, with a map at its start and its name and size in extended headers.
fn is_sparse(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<bool> {
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn special(name: &str, what: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::UnsafeEntry,
        format!("the archive's entry `{}` is {what}", shown(name)),
        "pack plain files only, for instance with `tar --dereference`, without `--sparse`",
    )
}

fn write(entry: &mut impl Read, target: &Path, path: ArtifactPath, limits: Limits) -> Result<FetchedFile, SourceError> {
    let disk = |error: io::Error| SourceError::disk("unpacking the archive", &error);
    let place = target.join(path.to_relative_path());
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(disk)?;
    }
    let mut file = File::create_new(&place).map_err(disk)?;
    let mut digest = Sha256Stream::default();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let count = entry.read(&mut buffer).map_err(|error| broken(&error, limits))?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(disk)?;
        bytes += count as u64;
    }
    file.sync_all().map_err(disk)?;
    Ok(FetchedFile { path, bytes, sha256: digest.finish() })
}

fn broken(error: &io::Error, limits: Limits) -> SourceError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return too_large(limits.bytes);
    }
    SourceError::new(
        SourceErrorCode::UnexpectedAnswer,
        "the archive cannot be read to its end",
        "pack it anew as .tar or .tar.gz, and check it with `tar -tf`",
    )
    .with_operator_detail(error)
}

/// Ends with an error where the archive goes on beyond its limit, or what is kept in memory beyond its own.
struct Bounded<'a> {
    reader: Box<dyn Read>,
    left: u64,
    to_memory: &'a Cell<Option<u64>>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        if let Some(room) = self.to_memory.get() {
            let longer = || io::Error::other(format!("headers of one entry have more than {MOST_HEADER_BYTES} bytes"));
            self.to_memory.set(Some(room.checked_sub(count as u64).ok_or_else(longer)?));
        }
        Ok(count)
    }
}
