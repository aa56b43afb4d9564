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
        Journal::open(&self.0, "t", (Path::new("/none.sock"), Path::new("/none.yaml")))
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

fn socket(path: PathBuf) -> Resource {
    Resource::Socket { path }
}

#[test]
fn a_live_switch_is_refused_with_its_pid() {
    let scratch = Scratch::new("live");
    let journal = scratch.open().unwrap();
    let error = scratch.open().unwrap_err().to_string();
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    let header = header(&scratch.0, "t").unwrap();
    assert_eq!((header.socket.as_path(), header.file.as_path()), (Path::new("/none.sock"), Path::new("/none.yaml")));
    assert_eq!(all(&scratch.0), [("t".to_owned(), header)]);
    journal.finish();
    scratch.open().unwrap();
}

#[test]
fn what_a_dead_switch_left_is_undone_by_the_next() {
    let scratch = Scratch::new("dead");
    let mut journal = scratch.open().unwrap();
    let (left, struck) = (scratch.0.join("left.sock"), scratch.0.join("struck.sock"));
    journal.record(socket(left.clone())).unwrap();
    let ticket = journal.record(socket(struck.clone())).unwrap();
    journal.erase(ticket);
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
    journal.record(socket(left.clone())).unwrap();
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
    journal.record(socket(left.clone())).unwrap();
    scratch.abandon(journal);
    assert_eq!(wait_and_clean(&scratch.0, "t").unwrap().len(), 1);
    assert!(wait_and_clean(&scratch.0, "t").unwrap().is_empty());
    assert!(!left.exists() && !file_of(&scratch.0, "t").exists());
}

#[test]
fn a_journal_does_not_grow_with_what_comes_and_goes() {
    let scratch = Scratch::new("renewed");
    let mut journal = scratch.open().unwrap();
    let left = scratch.0.join("left.sock");
    journal.record(socket(left.clone())).unwrap();
    let size = || fs::metadata(file_of(&scratch.0, "t")).unwrap().len();
    let mut largest = 0;
    for n in 0..5000 {
        let ticket = journal.record(socket(scratch.0.join(format!("{n}.sock")))).unwrap();
        journal.erase(ticket);
        largest = largest.max(size());
    }
    assert!(largest < 64 << 10, "{largest} bytes");
    assert_eq!(holder(&scratch.0, "t"), Some(std::process::id()), "the new file is locked too");
    assert!(scratch.open().unwrap_err().to_string().contains("is running already"));
    fs::write(&left, "").unwrap();
    scratch.abandon(journal);
    assert_eq!(holder(&scratch.0, "t"), None);
    assert_eq!(wait_and_clean(&scratch.0, "t").unwrap(), [format!("socket {}", left.display())]);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0, "nothing else is left");
}

#[test]
fn who_waits_for_the_end_is_not_misled_by_a_new_file() {
    let scratch = Scratch::new("waited");
    let mut journal = scratch.open().unwrap();
    let waiter = std::thread::spawn({
        let directory = scratch.0.clone();
        move || wait_and_clean(&directory, "t").unwrap()
    });
    for n in 0..2000 {
        let ticket = journal.record(socket(scratch.0.join(format!("{n}.sock")))).unwrap();
        journal.erase(ticket);
    }
    assert!(!waiter.is_finished(), "the switch lives");
    drop(journal);
    assert!(waiter.join().unwrap().is_empty());
    assert!(!file_of(&scratch.0, "t").exists());
}
