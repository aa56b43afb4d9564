//! Programs we start. A job is killed when it is dropped; its output goes to a file in our directory.

use crate::failure::{During, Result, fail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Runs a program to its end; its standard output.
pub fn run(argv: &[&str]) -> Result<String> {
    let what = argv.join(" ");
    let output = Command::new(argv[0]).args(&argv[1..]).stdin(Stdio::null()).output().during(&what)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return fail(format!("{what}: {}: {}", output.status, last_lines(&said, 5)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `ip` with words separated by spaces.
pub fn ip(words: &str) -> Result<String> {
    let argv: Vec<&str> = ["ip"].into_iter().chain(words.split_whitespace()).collect();
    run(&argv)
}

/// The words, to be run in a network namespace.
pub fn within<'a>(netns: &'a str, argv: &[&'a str]) -> Vec<&'a str> {
    [&["ip", "netns", "exec", netns], argv].concat()
}

/// Whether a program can be found.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Waits until `done` yields something.
pub fn wait_for<T>(patience: Duration, mut done: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + patience;
    loop {
        match done()? {
            None if Instant::now() < end => sleep(GLANCE),
            found => return Ok(found),
        }
    }
}

fn last_lines(text: &str, n: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(n)..].join(" | ")
}

/// A program in the background.
#[derive(Debug)]
pub struct Job {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Job {
    /// Starts `argv`; `what` names it and its log.
    pub fn start(directory: &Path, what: &str, argv: &[&str]) -> Result<Self> {
        Self::spawn(directory, what, argv, Stdio::null())
    }

    /// The same for a program that takes commands on its standard input ([`tell`](Self::tell)).
    pub fn start_told(directory: &Path, what: &str, argv: &[&str]) -> Result<Self> {
        Self::spawn(directory, what, argv, Stdio::piped())
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        match &mut self.child.stdin {
            Some(input) => writeln!(input, "{line}").during(&self.what),
            None => fail(format!("{} listens to nobody", self.what)),
        }
    }

    fn spawn(directory: &Path, what: &str, argv: &[&str], input: Stdio) -> Result<Self> {
        let log = directory.join(format!("{}.log", what.replace(' ', "-")));
        let file = File::create(&log).during(log.display())?;
        let child = Command::new(argv[0])
            .args(&argv[1..])
            .current_dir(directory)
            .stdin(input)
            .stderr(file.try_clone().during(log.display())?)
            .stdout(file)
            .spawn()
            .during(argv.join(" "))?;
        Ok(Self { child, what: what.to_owned(), log })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until it says `words`.
    pub fn wait_for_words(&mut self, words: &str, patience: Duration) -> Result<()> {
        let found = wait_for(patience, || {
            self.must_live()?;
            Ok(fs::read_to_string(&self.log).unwrap_or_default().contains(words).then_some(()))
        });
        match found? {
            Some(()) => Ok(()),
            None => fail(format!("{} did not say `{words}`: {}", self.what, last_lines(&self.said(), 5))),
        }
    }

    /// An error if it has ended.
    pub fn must_live(&mut self) -> Result<()> {
        match self.child.try_wait().during(&self.what)? {
            None => Ok(()),
            Some(status) => fail(format!("{} ended, {status}: {}", self.what, last_lines(&self.said(), 5))),
        }
    }

    /// Waits until it ends by itself; what it said.
    pub fn finish(&mut self, patience: Duration) -> Result<String> {
        let status = self.ended(patience)?;
        if status.success() { Ok(self.said()) } else { fail(self.ended_with(status)) }
    }

    /// Asks it to stop and waits.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> Result<()> {
        let pid = i32::try_from(self.pid()).during(&self.what)?;
        kill(Pid::from_raw(pid), signal).during(&self.what)?;
        let status = self.ended(patience)?;
        if status.success() { Ok(()) } else { fail(self.ended_with(status)) }
    }

    fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ended = wait_for(patience, || self.child.try_wait().during(&self.what))?;
        ended.map_or_else(|| fail(format!("{} did not end within {patience:?}", self.what)), Ok)
    }

    fn ended_with(&self, status: ExitStatus) -> String {
        format!("{} ended, {status}: {}", self.what, last_lines(&self.said(), 5))
    }
}

impl Job {
    /// Kills it and waits until it is gone.
    pub fn end(&mut self) {
        // both fail only for a process that is gone
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}
