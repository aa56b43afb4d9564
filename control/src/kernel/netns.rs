//! Network namespaces: made and removed the way `ip netns` does it, so `ip netns exec` works on them.
//!
//! A namespace named NAME is a bind mount of its kernel object on `/run/netns/NAME`. Threads have a namespace each:
//! [`inside`] runs a closure on a thread of its own that enters one and ends there, so the control thread never leaves
//! its own. Sockets keep the namespace they were made in.
//!
//! No descriptor of a namespace is held: it would keep alive what the user deletes.

use crate::net::Netns;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

/// Where named namespaces live.
pub const DIRECTORY: &str = "/run/netns";
/// The namespace of the calling thread.
const MINE: &str = "/proc/thread-self/ns/net";

/// A namespace could not be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// It is not there.
    #[error("{0} does not exist; make it first (`ip netns add NAME`), or name another")]
    Missing(Netns),
    /// Somebody else's namespace has the name.
    #[error("there is a namespace `{0}` already; rename the node")]
    Taken(String),
    /// The kernel refused.
    #[error("{step} failed: {error}{}", hint(error))]
    System {
        /// What was tried.
        step: String,
        /// The answer.
        error: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root (CAP_SYS_ADMIN and CAP_NET_ADMIN are needed)",
        _ => "",
    }
}

fn failed<E: Into<io::Error>>(step: impl Into<String>) -> impl FnOnce(E) -> NetnsError {
    let step = step.into();
    |error| NetnsError::System { step, error: error.into() }
}

/// Where the namespace called `name` is mounted.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// The file that stands for `place`; `None` for the namespace we run in.
#[must_use]
pub fn file(place: &Netns) -> Option<PathBuf> {
    match place {
        Netns::Host => None,
        Netns::Node(name) | Netns::Named(name) => Some(path(name)),
        Netns::File(path) => Some(path.clone()),
        Netns::Pid(pid) => Some(format!("/proc/{pid}/ns/net").into()),
    }
}

/// The file of `place` and the number of the namespace it means, if it can come to mean another one, or none, without
/// being deleted: that of a process, or a link to it.
#[must_use]
pub fn passing(place: &Netns) -> Option<(PathBuf, u64)> {
    let file = file(place)?;
    let named = matches!(place, Netns::Node(_) | Netns::Named(_));
    let mounted = named && !fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_symlink());
    let number = inode(&file).ok()?;
    (!mounted).then_some((file, number))
}

/// Opens `place`, for the kernel to move something there.
pub fn open(place: &Netns) -> Result<File, NetnsError> {
    let file = file(place).unwrap_or_else(|| MINE.into());
    File::open(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NetnsError::Missing(place.clone()),
        _ => failed(format!("opening {}", file.display()))(error),
    })
}

/// Runs `job` on a thread inside `place` and waits for it.
pub fn inside<T: Send>(place: &Netns, job: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let target = file(place).map(|_| open(place)).transpose()?;
    on_a_thread(move || {
        if let Some(target) = target {
            setns(target, CloneFlags::CLONE_NEWNET).map_err(failed(format!("entering {place}")))?;
        }
        Ok(job())
    })
}

/// Runs `job` inside each place with what is wanted there, on one thread that goes from one to the next. What its places
/// answer, one behind the other; those that cannot be entered are left out.
pub fn in_each<'a, W: Send, T: Send>(
    places: impl Iterator<Item = (&'a Netns, W)> + Send,
    job: impl Fn(W) -> Vec<T> + Send,
) -> Vec<T> {
    on_a_thread(move || {
        let Ok(host) = File::open(MINE) else { return Vec::new() };
        let enter = |place: &Netns| match place {
            Netns::Host => setns(&host, CloneFlags::CLONE_NEWNET).ok(),
            _ => setns(open(place).ok()?, CloneFlags::CLONE_NEWNET).ok(),
        };
        places.filter_map(|(place, wanted)| enter(place).map(|()| job(wanted))).flatten().collect()
    })
}

/// A panic inside goes on outside.
fn on_a_thread<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(job).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Makes the namespace `name`. Before anything is visible `intent` gets the kernel's number of it, to be written down; then
/// `setup` runs inside. Fails if the name is taken; leaves nothing behind when it fails.
pub fn create<E: From<NetnsError> + Send>(
    name: &str,
    intent: impl FnOnce(u64) -> Result<(), E> + Send,
    setup: impl FnOnce() -> Result<(), E> + Send,
) -> Result<(), E> {
    prepare_directory()?;
    let target = path(name);
    if target.exists() {
        return Err(NetnsError::Taken(name.to_owned()).into());
    }
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(failed("making a network namespace"))?;
        intent(inode(Path::new(MINE)).map_err(failed(format!("reading {MINE}")))?)?;
        publish(name, &target)?;
        setup().inspect_err(|_| unmount(&target))
    })
}

/// The kernel's number of the namespace mounted at `file`, with which it is told from another of the same name.
pub fn inode(file: &Path) -> io::Result<u64> {
    Ok(fs::metadata(file)?.ino())
}

fn publish(name: &str, target: &Path) -> Result<(), NetnsError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o444).open(target);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => NetnsError::Taken(name.to_owned()),
        _ => failed(format!("creating {}", target.display()))(error),
    })?;
    mount(Some(MINE), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|error| {
        unmount(target);
        failed(format!("mounting {}", target.display()))(error)
    })
}

/// `/run/netns` is a shared mount of itself, so that namespaces made here are seen in every mount namespace and can
/// be removed from any of them (as `ip netns` does).
fn prepare_directory() -> Result<(), NetnsError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY);
    made.map_err(failed(format!("creating {DIRECTORY}")))?;
    let share = || mount(None::<&str>, DIRECTORY, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        Err(Errno::EINVAL) => {
            mount(Some(DIRECTORY), DIRECTORY, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
                .and_then(|()| share())
                .map_err(failed(format!("mounting {DIRECTORY}")))
        }
        other => other.map_err(failed(format!("mounting {DIRECTORY}"))),
    }
}

/// Removes the namespace `name` if it is still the one with number `inode`; says whether it did.
pub fn delete(name: &str, number: u64) -> bool {
    let target = path(name);
    match fs::metadata(&target) {
        // a crash between creating the file and mounting on it leaves an empty file
        Ok(meta) if meta.ino() == number || is_leftover(&meta) => {
            unmount(&target);
            true
        }
        _ => false,
    }
}

/// An empty regular file on the file system of `/run/netns`: nothing is mounted on it.
fn is_leftover(meta: &fs::Metadata) -> bool {
    let here = fs::metadata(DIRECTORY).map(|directory| directory.dev());
    meta.len() == 0 && here.is_ok_and(|dev| dev == meta.dev())
}

/// Takes the mount off and removes the file; whatever of it is gone already is fine.
fn unmount(target: &Path) {
    let _gone = umount2(target, MntFlags::MNT_DETACH);
    let _gone = fs::remove_file(target);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::privileged;

    fn create_empty(name: &str) -> Result<u64, NetnsError> {
        let mut number = 0;
        create::<NetnsError>(
            name,
            |n| {
                number = n;
                Ok(())
            },
            || Ok(()),
        )?;
        Ok(number)
    }

    #[test]
    fn a_namespace_is_made_entered_and_removed() {
        if !privileged::allowed("a_namespace_is_made_entered_and_removed") {
            return;
        }
        let name = "plxt-netns";
        let number = create_empty(name).unwrap();
        let place = Netns::Node(name.to_owned());
        let devices = inside(&place, || fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
        assert_eq!(devices.lines().count(), 3, "only lo: {devices}");
        assert!(matches!(create_empty(name), Err(NetnsError::Taken(_))));
        assert!(!delete(name, number + 1), "not the one we made");
        assert!(delete(name, number));
        assert!(matches!(inside(&place, || ()), Err(NetnsError::Missing(_))));
    }

    #[test]
    fn a_failed_setup_leaves_nothing() {
        if !privileged::allowed("a_failed_setup_leaves_nothing") {
            return;
        }
        let failing = create::<NetnsError>("plxt-fail", |_| Ok(()), || Err(NetnsError::Taken("x".to_owned())));
        assert!(failing.is_err() && !path("plxt-fail").exists());
    }

    #[test]
    fn the_calling_thread_stays_where_it_is() {
        let before = inode(Path::new(MINE)).unwrap();
        inside(&Netns::Host, || ()).unwrap();
        assert_eq!(before, inode(Path::new(MINE)).unwrap());
    }
}
