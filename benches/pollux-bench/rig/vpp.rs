//! VPP: a bridge domain on AF_XDP, with directory, sockets and shared memory of its own. Only if its binary is named
//! (`--vpp`): Debian has none.
//!
//! Written after VPP's own documents of 24.06 to 25.10 (`docs/configuration/reference.rst`, `src/plugins/af_xdp`,
//! `src/vnet/l2`); that commands of `exec` are run two seconds after the start, end at the first that fails and speak to
//! standard output is in `src/vlib/unix/main.c` and `src/vlib/cli.c`.

use super::{LOAD_CORE, MAC_B, MAC_FLOWS, SWITCH_CORE};
use crate::failure::{During, Failure, Result};
use crate::process::Job;
use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const STARTING: Duration = Duration::from_secs(30);
/// Head of the table that the last command prints: all before it succeeded.
const READY: &str = "BD-ID";
/// What a VPP that was killed leaves in our /dev/shm; its own service removes them before each start.
const SEGMENTS: [&str; 3] = ["/dev/shm/db", "/dev/shm/global_vm", "/dev/shm/vpe-api"];

/// Its process.
#[derive(Debug)]
pub struct Vpp {
    job: Job,
}

impl Vpp {
    /// Starts it, and waits until the stations' pairs are in its bridge domain.
    pub fn start(world: &World) -> Result<Self> {
        let binary =
            world.vpp.as_deref().ok_or_else(|| Failure("VPP is not here: name its binary, --vpp PATH".into()))?;
        let directory = clean(world)?;
        let plugins = plugins(binary);
        let script = world.write("vpp/setup.cli", &script())?;
        let file = world.write("vpp/startup.conf", &configuration(&directory, &script, plugins.as_deref()))?;
        let binary = binary.display().to_string();
        // a VPP that was built and not installed has its libraries where its plugins are
        let libraries = plugins.as_deref().and_then(Path::parent).map(|of| format!("LD_LIBRARY_PATH={}", of.display()));
        let mut argv = vec!["env"];
        argv.extend(libraries.as_deref());
        // what it says is wanted at once, although it goes to a file
        argv.extend(["stdbuf", "-oL", &binary, "-c", &file]);
        let mut job = Job::start(&world.directory, "vpp", &argv)?;
        job.wait_for_words(READY, STARTING)?;
        Ok(Self { job })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.job.pid()
    }
}

/// A directory without anything of the round before.
fn clean(world: &World) -> Result<PathBuf> {
    let directory = world.directory.join("vpp");
    for segment in SEGMENTS {
        let _not_there = fs::remove_file(segment);
    }
    let _not_there = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).during(directory.display())?;
    Ok(directory)
}

/// Plugins beside the binary (`../lib/vpp_plugins`, `../lib/x86_64-linux-gnu/vpp_plugins`); otherwise it knows where.
fn plugins(binary: &Path) -> Option<PathBuf> {
    let libraries = binary.parent()?.parent()?.join("lib");
    let below = fs::read_dir(&libraries).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let places = [libraries].into_iter().chain(below).map(|place| place.join("vpp_plugins"));
    places.into_iter().find(|place| place.is_dir())
}

/// Its startup.conf. No `socksvr`, no DPDK: nothing that would be found, or looked for, outside of its directory.
fn configuration(directory: &Path, script: &str, plugins: Option<&Path>) -> String {
    let directory = directory.display();
    let path = plugins.map_or(String::new(), |plugins| format!("  path {}\n", plugins.display()));
    format!(
        "unix {{\n  nodaemon\n  nosyslog\n  exec {script}\n  cli-listen {directory}/cli.sock\n  log {directory}/vpp.log\n  \
         runtime-dir {directory}\n}}\n\
         cpu {{\n  main-core {LOAD_CORE}\n  corelist-workers {SWITCH_CORE}\n}}\n\
         memory {{\n  main-heap-size 512M\n  main-heap-page-size default\n}}\n\
         buffers {{\n  buffers-per-numa 16384\n}}\n\
         statseg {{\n  socket-name {directory}/stats.sock\n}}\n\
         plugins {{\n{path}  plugin default {{ disable }}\n  plugin af_xdp_plugin.so {{ enable }}\n}}\n"
    )
}

/// Its commands once it runs.
fn script() -> String {
    let interface = |dev: &str| format!("create interface af_xdp host-if {dev} name {dev} num-rx-queues 1\n");
    let member = |dev: &str| format!("set interface state {dev} up\nset interface l2 bridge {dev} 1\n");
    let address = |mac: &str| format!("l2fib add {mac} 1 w0 static\n");
    let each = |order: &dyn Fn(&str) -> String, names: [&str; 2]| names.map(order).concat();
    [
        each(&interface, ["v0", "w0"]),
        "create bridge-domain 1 learn 1 forward 1 flood 1 uu-flood 1\n".to_owned(),
        each(&member, ["v0", "w0"]),
        each(&address, [MAC_B, MAC_FLOWS]),
        "show bridge-domain 1 detail\n".to_owned(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_it_writes_is_in_its_directory() {
        let text =
            configuration(Path::new("/run/x/vpp"), "/run/x/vpp/setup.cli", Some(Path::new("/opt/lib/vpp_plugins")));
        let paths: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with('/')).collect();
        assert_eq!(paths.len(), 6, "{text}");
        assert!(paths.iter().all(|path| path.starts_with("/run/x/vpp") || *path == "/opt/lib/vpp_plugins"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count(), "{text}");
    }

    #[test]
    fn an_interface_is_there_before_it_is_named() {
        let script = script();
        let lines: Vec<&str> = script.lines().collect();
        let place = |words: &str| lines.iter().position(|line| line.starts_with(words)).unwrap();
        assert!(place("create interface af_xdp host-if w0") < place("create bridge-domain 1"), "{script}");
        assert!(place("set interface l2 bridge w0 1") < place("l2fib add"), "{script}");
        assert!(lines.last().unwrap().starts_with("show bridge-domain"), "{script}");
    }

    #[test]
    fn plugins_are_looked_for_beside_the_binary() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(plugins(&at("bin/vpp")), None);
        fs::create_dir_all(at("lib/x86_64-linux-gnu/vpp_plugins")).unwrap();
        assert_eq!(plugins(&at("bin/vpp")), Some(at("lib/x86_64-linux-gnu/vpp_plugins")));
    }
}
