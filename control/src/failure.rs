//! How a command ends that did not do what it was told: exit code and words.

use crate::problem::Problems;
use std::io;
use std::path::Path;

/// Exit code: done.
pub const OK: u8 = 0;
/// Exit code: it failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line was wrong (clap's own).
pub const USAGE: u8 = 2;
/// Exit code: no daemon answers.
pub const UNREACHABLE: u8 = 3;
/// Exit code: not permitted.
pub const PERMISSION: u8 = 4;

/// Why the process does not end with 0.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What to say.
    pub text: String,
}

impl Failure {
    /// Exit code 1.
    pub fn new(text: impl Into<String>) -> Self {
        Self { code: FAILED, text: text.into() }
    }

    /// A file or directory cannot be made or written.
    #[must_use]
    pub fn unwritable(path: &Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { PERMISSION } else { FAILED };
        Self { code, text: format!("{}: {error}{}", path.display(), unwritable_hint(error)) }
    }

    /// A system call failed.
    #[must_use]
    pub fn io(what: &str, error: &io::Error) -> Self {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let hint = if denied { "; run as root" } else { "" };
        Self { code: if denied { PERMISSION } else { FAILED }, text: format!("{what}: {error}{hint}") }
    }
}

/// What to do about a place that cannot be written.
#[must_use]
pub fn unwritable_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; pollux keeps its journals, logs and sockets below /run: `mount -t tmpfs tmpfs /run/pollux`, or start the container with `--tmpfs /run`"
        }
        io::ErrorKind::StorageFull => "; make room there",
        _ => "",
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::new(problems.to_string())
    }
}
