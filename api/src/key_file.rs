//! The operator's file of signing keys: an entry a line, the first signs, all verify.
//!
//! The file is always replaced as a whole, so that a process that reads it at that moment sees either the old keys or
//! the new ones.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::Path,
};

use latchkey_shared::{
    clock::Clock,
    crypto::signing::{Algorithm, SigningKey, SigningRing},
    random::{self, Random},
};

/// Why the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("{0}")]
    File(#[from] io::Error),
    /// What stands in it is no ring of keys.
    #[error("{}", .0.join("; "))]
    Faulty(Vec<String>),
    /// No key was made.
    #[error("the key {0}")]
    Key(&'static str),
}

/// A new key, named after the day.
///
/// # Errors
/// When the library makes none.
pub fn generate(
    algorithm: Algorithm,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<SigningKey, KeyFileError> {
    let suffix = u32::from_be_bytes(random::array(random));
    let id = format!("{}-{suffix:08x}", clock.now().format("%Y%m%d"));
    SigningKey::generate(id, algorithm, random).map_err(KeyFileError::Key)
}

/// The keys of the file.
///
/// # Errors
/// When it cannot be read, or a key in it is faulty.
pub fn read(path: &Path) -> Result<SigningRing, KeyFileError> {
    SigningRing::parse(&fs::read_to_string(path)?).map_err(KeyFileError::Faulty)
}

/// Puts a new key in front of the others, of which so many stay that there are `keep`.
///
/// # Errors
/// See [`KeyFileError`]; the file is as it was then.
pub fn rotate(path: &Path, new: SigningKey, keep: usize) -> Result<SigningRing, KeyFileError> {
    // A link stays one.
    let path = &fs::canonicalize(path)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory_file = File::open(directory)?;
    // Two operators at once take turns: none of their keys is lost.
    directory_file.lock()?;
    let as_before = fs::metadata(path)?;
    let ring = read(path)?.rotated(new, keep);
    let temporary = directory.join(format!(".{}.new", ring.current().id));
    let written = write(&temporary, &as_before, ring.text().expose().as_bytes())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| directory_file.sync_all());
    if written.is_err() {
        // It holds keys; nobody looks for them there.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    Ok(ring)
}

/// The new file belongs to whom the old one did: the processes that read it may run as somebody else.
fn write(path: &Path, as_before: &Metadata, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    fchown(&file, Some(as_before.uid()), Some(as_before.gid()))?;
    file.set_permissions(as_before.permissions())?;
    file.sync_all()
}
