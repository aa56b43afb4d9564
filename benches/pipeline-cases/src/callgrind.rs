//! Counts by running ourselves under callgrind.
//!
//! What could make counts differ between machines is pinned: the table's seed, and what the C library's `memcpy` would
//! choose by the processor. What is left is the compiler, which the ledger names.

use crate::FRAMES;
use crate::ledger::Ledger;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Copying as every x86_64 does it.
const COPYING: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-ERMS,-FSRM,-Prefer_ERMS,-Prefer_FSRM:glibc.cpu.x86_rep_movsb_threshold=1000000";

/// Instructions per frame of every case.
pub fn count() -> Result<Ledger, String> {
    if cfg!(debug_assertions) {
        return Err("this build is not optimised, its counts mean nothing: cargo build --profile counted".to_owned());
    }
    let directory = tempfile::tempdir().map_err(|error| format!("a temporary directory: {error}"))?;
    let names = run(directory.path())?;
    let totals = totals(directory.path(), names.len())?;
    let frames = FRAMES as f64;
    let per_frame: BTreeMap<String, f64> = names
        .into_iter()
        .zip(totals)
        .map(|(name, total)| (name, (total as f64 / frames * 10.0).round() / 10.0))
        .collect();
    Ok(Ledger { rustc: compiler()?, instructions: per_frame })
}

/// The names of the cases, in the order in which they were counted.
fn run(directory: &Path) -> Result<Vec<String>, String> {
    let program = std::env::current_exe().map_err(|error| format!("our own path: {error}"))?;
    let out = format!("--callgrind-out-file={}", directory.join("out").display());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &watched("--toggle-collect"), &watched("--dump-after"), &out])
        .arg(program)
        .arg("work")
        .env("GLIBC_TUNABLES", COPYING)
        .output()
        .map_err(|error| format!("valgrind: {error}: `make deps` installs it"))?;
    if !output.status.success() {
        return Err(format!("valgrind: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// An option that is about the function `counted`; `--dump-after` knows no wildcards.
fn watched(option: &str) -> String {
    format!("{option}=pollux_pipeline::counted")
}

/// What each call cost: callgrind numbers the dumps from 1.
fn totals(directory: &Path, calls: usize) -> Result<Vec<u64>, String> {
    let total = |n: usize| {
        let path = directory.join(format!("out.{n}"));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let count = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        count.filter(|count| *count > 0).ok_or_else(|| format!("{} counts nothing", path.display()))
    };
    (1..=calls).map(total).collect()
}

/// The compiler in use.
fn compiler() -> Result<String, String> {
    let program = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(&program).arg("--version").output().map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
