//! The journal in a directory of its own.

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pollux-state-{name}-{}", std::process::id()));
        let _fresh = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self) -> Result<Journal, StateError> {
        Journal::open(&self.0, "t", Path::new("/none.sock"))
    }

    /// As SIGKILL leaves it: unlocked, with everything in it.
    fn abandon(&self, journal: Journal) {
        drop(journal);
        assert!(file_of(&self.0, "t").exists());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn socket(path: PathBuf) -> Thing {
    Thing::Socket { path }
}

#[test]
fn a_live_switch_is_refused_with_its_pid() {
    let scratch = Scratch::new("live");
    let journal = scratch.open().unwrap();
    let error = scratch.open().unwrap_err().to_string();
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    assert_eq!(header(&scratch.0, "t").unwrap().socket, Path::new("/none.sock"));
    journal.finish();
    scratch.open().unwrap();
}

#[test]
fn what_a_dead_switch_left_is_undone_by_the_next() {
    let scratch = Scratch::new("dead");
    let mut journal = scratch.open().unwrap();
    let (left, struck) = (scratch.0.join("left.sock"), scratch.0.join("struck.sock"));
    journal.intend(socket(left.clone())).unwrap();
    let ticket = journal.intend(socket(struck.clone())).unwrap();
    journal.strike(ticket);
    fs::write(&left, "").unwrap();
    fs::write(&struck, "").unwrap();
    scratch.abandon(journal);
    let next = scratch.open().unwrap();
    assert_eq!(next.cleaned, [format!("socket {}", left.display())]);
    assert!(!left.exists() && struck.exists());
}

#[test]
fn half_a_line_and_another_boot_are_ignored() {
    let scratch = Scratch::new("half");
    let mut journal = scratch.open().unwrap();
    let left = scratch.0.join("left.sock");
    fs::write(&left, "").unwrap();
    journal.intend(socket(left.clone())).unwrap();
    journal.file.write_all(b"{\"make\":{\"sock").unwrap();
    scratch.abandon(journal);
    let path = file_of(&scratch.0, "t");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&boot(), "another")).unwrap();
    assert!(scratch.open().unwrap().cleaned.is_empty() && left.exists());
}

#[test]
fn waiting_for_a_switch_that_is_gone_cleans_up_once() {
    let scratch = Scratch::new("wait");
    let mut journal = scratch.open().unwrap();
    let left = scratch.0.join("left.sock");
    fs::write(&left, "").unwrap();
    journal.intend(socket(left.clone())).unwrap();
    scratch.abandon(journal);
    assert_eq!(wait_and_clean(&scratch.0, "t").unwrap().len(), 1);
    assert!(wait_and_clean(&scratch.0, "t").unwrap().is_empty());
    assert!(!left.exists() && !file_of(&scratch.0, "t").exists());
}
