//! A virtual machine: QEMU without KVM, Debian's cloud kernel, busybox (tests/vm), and its console.

use crate::common::wait_for;
use crate::lab::pollux;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Longest that a command in the machine may take; it is emulated.
const PATIENCE: Duration = Duration::from_secs(40);

/// What machines boot from. Called before the test enters its world, where no packages can be had.
pub fn image() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = root.join("target/vm");
    let made = Command::new(root.join("tests/vm/image.sh")).arg(&directory).status().expect("image.sh");
    assert!(made.success(), "tests/vm/image.sh: {made}");
    directory
}

/// A machine that runs.
pub struct Machine {
    child: Child,
    console: Receiver<String>,
}

impl Machine {
    /// Boots a machine on `port` of the running switch, with the arguments that the switch says, and waits for its
    /// console.
    pub fn boot(image: &Path, port: &str, ip: &str, more: &[&str]) -> Self {
        let attach = pollux(&["port", "qemu-args", port, "--memory", "128M"]).ok();
        Self::start(image, attach.trim(), ip, more)
    }

    /// Boots a machine with these arguments.
    pub fn start(image: &Path, attach: &str, ip: &str, more: &[&str]) -> Self {
        let machine = Self::spawn(image, attach, ip, more);
        machine.wait_for("vm is up");
        machine
    }

    /// A machine on `port` that is not booted: it waits for one that comes from `address`.
    pub fn awaiting(image: &Path, port: &str, (ip, address): (&str, &str), more: &[&str]) -> Self {
        let attach = pollux(&["port", "qemu-args", port, "--memory", "128M"]).ok();
        Self::spawn(image, attach.trim(), ip, &[more, &["-incoming", address]].concat())
    }

    fn spawn(image: &Path, attach: &str, ip: &str, more: &[&str]) -> Self {
        let mut append = "console=ttyS0 quiet panic=-1".to_owned();
        // writing to a String cannot fail
        let _ = write!(append, " ip={ip}:::255.255.255.0::eth0:off");
        let mut child = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-m", "128M", "-nodefaults", "-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(image.join("vmlinuz"))
            .arg("-initrd")
            .arg(image.join("initrd"))
            .args(["-append", &append])
            .args(attach.split_whitespace())
            .args(more)
            // without KVM, QEMU 7.2 crashes on MSI-X vectors of vhost-user devices
            .args(["-global", "virtio-net-pci.vectors=0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let (say, console) = channel();
        // ends with the machine; a test that has seen enough hangs up
        thread::spawn(move || lines.map_while(Result::ok).take_while(|line| say.send(line.clone()).is_ok()).count());
        Self { child, console }
    }

    /// What the console says before a line that begins so.
    pub fn wait_for(&self, words: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let line = self.console.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|e| panic!("{e}: no `{words}` on the console: {said:#?}"));
            if line.trim_end().starts_with(words) {
                said.push(line);
                return said;
            }
            said.push(line);
        }
    }

    /// Types a line.
    pub fn tell(&mut self, command: &str) {
        let console = self.child.stdin.as_mut().expect("its input");
        writeln!(console, "{command}").expect("a console");
    }

    /// Runs a command that must succeed; what it says.
    pub fn run(&mut self, command: &str) -> String {
        self.tell(command);
        let mut said = self.wait_for("done ");
        let code = said.pop().unwrap_or_default();
        assert_eq!(code.trim_end(), "done 0", "{command}: {said:#?}");
        said.join("\n")
    }

    /// Two pings, two answers.
    pub fn ping(&mut self, to: &str) {
        self.run(&format!("ping -q -c 2 -W 5 {to}"));
    }

    /// Fetches the 16 MiB that are served at `from`; they must arrive as they are.
    pub fn fetch(&mut self, from: &str) {
        let sum = self.run(&format!("wget -q -O - http://{from}/data | md5sum"));
        assert!(sum.contains(DATA_MD5), "{from}: {sum}");
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a machine");
        self.child.wait().expect("its end");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of `yes | head -c 16777216`.
pub const DATA_MD5: &str = "f2d5d2251a3b785877ea6a4d6563dfd6";

/// What machines serve.
pub fn data() -> Vec<u8> {
    b"y\n".repeat(8 << 20)
}

/// Fetches what the machine at `ip` serves.
pub fn fetch(ip: &str) -> Vec<u8> {
    use std::io::Read;
    let mut stream = wait_for("a server in the machine", || std::net::TcpStream::connect((ip, 80)).ok());
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(b"GET /data HTTP/1.0\r\n\r\n").expect("asking");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a body") + 4;
    answer.split_off(body)
}
