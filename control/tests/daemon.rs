//! A daemon with in-memory ports only: the API, its JSON contract, and how switches start and end. No interface is touched;
//! root is needed for /run/pollux alone.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A lab of null and ring ports under a name of its own, down at the end.
struct Lab {
    name: String,
    file: PathBuf,
    socket: PathBuf,
}

impl Lab {
    fn new(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var_os("PRIVILEGED_TESTS").is_none_or(|v| v != "1"),
                "{test} needs root and PRIVILEGED_TESTS=1 is set"
            );
            eprintln!("skipped without root: {test}");
            return None;
        }
        let name = format!("plxt-{test}");
        let base = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let lab = Self { file: base.with_extension("yaml"), socket: base.with_extension("sock"), name };
        let text = format!(
            "name: {}\nmemory: {{ frames: 8k, hugepages: off }}\ndomains: {{ lan: {{ static: [{{ mac: \"02:00:00:00:00:01\", port: n1 }}] }}, two: {{}} }}\nports:\n  n1: {{ kind: null, domain: lan }}\n  r1: {{ kind: ring, peer: r2, domain: lan }}\n  r2: {{ kind: ring, peer: r1, domain: two }}\n",
            lab.name
        );
        std::fs::write(&lab.file, text).unwrap();
        Some(lab)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pollux"));
        command.env_remove("POLLUX_SOCKET").arg("--socket").arg(&self.socket).args(args).output().unwrap()
    }

    fn lab(&self, verb: &str) -> Output {
        self.run(&["lab", verb, self.file.to_str().unwrap()])
    }

    fn up(&self) {
        let up = self.lab("up");
        assert!(up.status.success(), "{}", complaint(&up));
    }

    fn ok(&self, args: &[&str]) {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", complaint(&output));
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", complaint(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The command fails with code 1, saying this.
    fn refused(&self, args: &[&str], words: &str) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(complaint(&output).contains(words), "{args:?}: {}", complaint(&output));
    }

    fn state(&self) -> PathBuf {
        PathBuf::from(format!("/run/pollux/{}.state", self.name))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.lab("down");
        let log = PathBuf::from(format!("/run/pollux/{}.log", self.name));
        for file in [&self.file, &self.socket, &log] {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn answers_have_the_shape_of_the_contract() {
    let Some(lab) = Lab::new("contract") else { return };
    lab.up();
    let stats = lab.json(&["stats", "-j"]);
    assert_eq!(
        (stats["v"].as_u64(), stats["mempool"]["total"].as_u64(), stats["mempool"]["backing"].as_str()),
        (Some(1), Some(8192), Some("4k"))
    );
    for key in ["rx_frames", "rx_bytes", "tx_frames", "tx_bytes"] {
        assert_eq!(stats["ports"]["n1"][key].as_u64(), Some(0), "{key}");
    }
    assert!(
        stats["ports"]["n1"]["drops"].as_object().is_some_and(serde_json::Map::is_empty)
            && stats["workers"][0]["core"].is_u64()
            && stats["workers"][0]["busy"].is_f64()
    );
    let ports = lab.json(&["ports", "-j"]);
    let names: Vec<_> = ports["ports"].as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["n1", "r1", "r2"]);
    assert_eq!((ports["ports"][1]["kind"].as_str(), ports["ports"][1]["link"].as_str()), (Some("ring"), Some("up")));
    let fdb = lab.json(&["fdb", "-j"]);
    let entry =
        serde_json::json!({"domain":"lan","vlan":0,"mac":"02:00:00:00:00:01","port":"n1","kind":"static","age_s":0});
    assert_eq!(fdb["entries"], serde_json::json!([entry]));
    let status = lab.json(&["status", "-j"]);
    assert_eq!((status["name"].as_str(), status["ports_open"].as_u64()), (Some("plxt-contract"), Some(3)));
}

#[test]
fn ports_and_addresses_come_and_go() {
    let Some(lab) = Lab::new("change") else { return };
    lab.up();
    lab.ok(&["port", "add", "n2", "--spec", "{ kind: null, domain: two }"]);
    lab.refused(
        &["port", "add", "n2", "--spec", "{ kind: null, domain: two }"],
        "ports.n2: a port of this name exists",
    );
    lab.refused(
        &["port", "add", "n3", "--spec", "{ kind: null, domain: tow }"],
        "ports.n3.domain: there is no domain `tow`; did you mean `two`?",
    );
    lab.refused(
        &["port", "add", "n3", "--spec", "{ kind: null, domain: two, vlan: { access: 0 } }"],
        "there is no VLAN 0",
    );
    lab.ok(&["port", "set", "n2", "isolated=true", "flood.unicast=false"]);
    let flags = lab.json(&["ports", "-j"])["ports"][3]["flags"].clone();
    assert_eq!(flags, serde_json::json!(["no-flood-unicast", "isolated"]));
    lab.refused(&["port", "set", "n2", "macvlan=bridge"], "is for ports of macvlan domains");
    lab.refused(&["port", "set", "n2", "isolatd=true"], "isolatd");
    lab.ok(&["domain", "set", "two", "ageing=60s", "guards.loops={ action: observe }"]);
    assert_eq!(lab.json(&["status", "-j"])["domains"]["two"]["ageing_s"], 60);
    lab.refused(&["domain", "set", "two", "mode=macvlan"], "cannot change while the domain is there");
    lab.refused(&["domain", "set", "two", "uplink=n2"], "a learning domain has no `uplink`");
    lab.ok(&["domain", "set", "two", "ageing=", "guards="]);
    assert_eq!(lab.json(&["status", "-j"])["domains"]["two"]["ageing_s"], 300);
    lab.ok(&["fdb", "add", "two", "02:00:00:00:00:02", "n2", "--sticky"]);
    lab.refused(&["fdb", "flush", "--kind", "all"], "there are no `all` addresses");
    lab.ok(&["fdb", "flush", "--domain", "two"]);
    lab.refused(&["fdb", "add", "lan", "02:00:00:00:00:03", "n2"], "port");
    lab.refused(&["fdb", "add", "two", "03:00:00:00:00:02", "n2"], "is no address a station can have");
    lab.ok(&["fdb", "del", "two", "02:00:00:00:00:02"]);
    lab.refused(&["fdb", "del", "two", "02:00:00:00:00:02"], "is not known there");
    lab.ok(&["port", "del", "n2"]);
    lab.refused(&["port", "del", "n2"], "there is no port `n2`");
    // the end that stays sees its cable unplugged, and plugged in again once both ends are new
    lab.ok(&["port", "del", "r2"]);
    assert_eq!(lab.json(&["ports", "-j"])["ports"][1]["link"], "no-carrier");
    lab.ok(&["port", "del", "r1"]);
    lab.ok(&["port", "add", "r1", "--spec", "{ kind: ring, peer: r2, domain: lan }"]);
    lab.ok(&["port", "add", "r2", "--spec", "{ kind: ring, peer: r1, domain: two }"]);
    assert_eq!(lab.json(&["ports", "-j"])["ports"][1]["link"], "up");
    let down = lab.lab("down");
    assert!(String::from_utf8_lossy(&down.stdout).contains("all 8192 frames came home"), "{}", complaint(&down));
    assert!(!lab.state().exists() && !lab.socket.exists());
}

#[test]
fn a_live_name_and_a_taken_socket_are_refused() {
    let Some(lab) = Lab::new("taken") else { return };
    lab.up();
    let again = lab.lab("up");
    assert_eq!(again.status.code(), Some(1));
    assert!(complaint(&again).contains("is running already (pid "), "{}", complaint(&again));
    let mut other = Lab::new("taken2").unwrap();
    let own = std::mem::replace(&mut other.socket, lab.socket.clone());
    let refused = other.lab("up");
    assert_eq!(refused.status.code(), Some(1));
    assert!(complaint(&refused).contains("a daemon listens there already"), "{}", complaint(&refused));
    assert!(!other.state().exists(), "nothing half-made stays");
    other.socket = own;
    lab.ok(&["status"]);
}

#[test]
fn after_sigkill_the_next_start_succeeds() {
    let Some(lab) = Lab::new("sigkill") else { return };
    lab.up();
    let pid = lab.json(&["status", "-j"])["pid"].as_i64().unwrap();
    let process = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(lab.state().exists() && lab.socket.exists());
    lab.up();
    lab.ok(&["status"]);
    let down = lab.lab("down");
    assert!(down.status.success(), "{}", complaint(&down));
    assert!(lab.lab("down").status.success(), "down is idempotent");
}
