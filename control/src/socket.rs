//! Unix sockets at a path: who listens there, and taking it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a killed process may still hold its lock and its socket.
pub const DYING: Duration = Duration::from_millis(500);

/// Longest path that a unix socket can have (`sun_path`, unix(7)), without its final 0.
pub const LONGEST: usize = 107;

/// Refuses a path that no socket can have.
pub fn fits(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().len();
    if bytes <= LONGEST {
        return Ok(());
    }
    let what = format!("a socket's path has at most {LONGEST} bytes, this one has {bytes}; choose a shorter one");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Listens at `path`, mode 0660. A socket that answers is somebody's: `taken` is what to say then. One that does not is a
/// dead one's and is replaced.
pub fn bind(path: &Path, taken: &'static str) -> io::Result<UnixListener> {
    fits(path)?;
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if answers(path) {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, taken));
    }
    if is_socket(path) {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// The directories that [`bind`] will make for a socket at `path`, outermost first.
#[must_use]
pub fn missing_directories(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<_> =
        path.ancestors().skip(1).take_while(|directory| !directory.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// Whether somebody listens there, and still does after the moment that a killed process may take to let go.
fn answers(path: &Path) -> bool {
    let end = Instant::now() + DYING;
    while UnixStream::connect(path).is_ok() {
        if Instant::now() > end {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}
