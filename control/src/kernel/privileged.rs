//! Tests that need root skip by name without it, and fail when `PRIVILEGED_TESTS=1` promises it.

/// Whether the test called `name` can run.
pub(crate) fn allowed(name: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("PRIVILEGED_TESTS").is_none_or(|v| v != "1"),
        "{name} needs root and PRIVILEGED_TESTS=1 is set"
    );
    eprintln!("skipped without root: {name}");
    false
}
