//! Another kernel, in user space (User-Mode Linux), for what the one that runs the tests was built without.
//!
//! It boots in a second on the files of this machine, runs this very test there, and writes what came out of each port to a
//! file. Debian's package is `user-mode-linux`.

use crate::script::{Outcome, Scenario};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the test that runs inside is to write.
const ANSWERS: &str = "CONFORMANCE_ANSWERS";

const INIT: &str = "\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs run /run
modprobe -d @DIRECTORY@ -a bridge 8021q veth
TMPDIR=/run PRIVILEGED_TESTS=1 CONFORMANCE_ANSWERS=@DIRECTORY@/answers @TEST@ --exact @FILE@ --nocapture >@DIRECTORY@/log 2>&1
sync
echo o >/proc/sysrq-trigger
sleep 60
";

/// If this process is inside: writes what the kernel here does, one line per frame.
pub fn answered(scenarios: &[Scenario], on_the_kernel: impl Fn(&Scenario) -> Vec<Outcome>) -> bool {
    let Some(path) = std::env::var_os(ANSWERS) else { return false };
    let mut text = String::new();
    for scenario in scenarios {
        for (sent, outcome) in scenario.frames().zip(on_the_kernel(scenario)) {
            text += &format!("{}\n", outcome.text(&sent.tags));
        }
    }
    fs::write(path, text).expect("writing answers");
    true
}

/// What that kernel does with all scenarios of a file, in order; `None` if it is not installed.
pub fn ask(file: &str, scenarios: &[Scenario]) -> Option<Vec<Vec<Outcome>>> {
    let uml = ["/usr/bin/linux.uml", "/usr/bin/linux"].into_iter().find(|path| Path::new(path).exists())?;
    let directory = tempfile::Builder::new().prefix("plxt-uml-").tempdir().expect("a directory");
    boot(uml, directory.path(), file);
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let answers = read("answers");
    let mut lines = answers.lines();
    let mut next = |sent: &crate::script::Sent| {
        let line = lines.next().unwrap_or_else(|| panic!("the kernel in user space did not finish:\n{}", read("log")));
        Outcome::parse(line, &sent.tags)
    };
    Some(scenarios.iter().map(|scenario| scenario.frames().map(&mut next).collect()).collect())
}

fn boot(uml: &str, directory: &Path, file: &str) {
    let modules = directory.join("lib");
    fs::create_dir(&modules).expect("a directory");
    std::os::unix::fs::symlink("/usr/lib/uml/modules", modules.join("modules")).expect("a link");
    let init = directory.join("init");
    let test = std::env::current_exe().expect("our own path");
    let text = INIT.replace("@DIRECTORY@", directory.to_str().expect("a path of text"));
    fs::write(&init, text.replace("@TEST@", test.to_str().expect("a path of text")).replace("@FILE@", file))
        .expect("init");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&init, executable).expect("permissions");
    let console = fs::File::create(directory.join("console")).expect("a file");
    Command::new(uml)
        .args(["mem=256M", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", "con=null", "con0=null,fd:1"])
        .arg(format!("init={}", init.display()))
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("a file"))
        .stderr(console)
        .status()
        .expect("booting a kernel in user space");
}
