//! Errors, in words.

use std::fmt::{self, Display};

/// What went wrong, where, and the remedy if there is one.
#[derive(Debug)]
pub struct Failure(pub String);

/// Of whatever can go wrong here.
pub type Result<T> = std::result::Result<T, Failure>;

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A failure that need not be told apart.
pub fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure(text.into()))
}

/// Adds what was being done when an error occurred.
pub trait During<T> {
    /// `what: error`.
    fn during(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> During<T> for std::result::Result<T, E> {
    fn during(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}
