//! The `pollux` command as a user meets it, without privileges: exit codes, streams, messages.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

fn pollux(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollux"));
    command.args(args).env_remove("POLLUX_SOCKET").output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file that is removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pollux-cli-{}-{name}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_good_file_is_ok() {
    let file = Temp::new(
        "good.yaml",
        "name: t\ndomains: { lan: {} }\nports: { a: { kind: tap, domain: lan }, n: { kind: null, domain: lan } }\n",
    );
    let output = pollux(&["check", file.path()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("2 ports in 1 domains"));
}

#[test]
fn a_bad_file_fails_with_every_mistake_on_a_line_of_its_own() {
    let file = Temp::new(
        "bad.yaml",
        "name: t\ndomains: { lan: {} }\nports:\n  a: { kind: tap, domain: lam }\n  b: { kind: tap }\n",
    );
    let output = pollux(&["check", file.path()]);
    assert_eq!(code(&output), 1);
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains(":4:27: ports.a.domain: there is no domain `lam`; did you mean `lan`?"), "{said}");
    assert!(lines[1].contains(":5:3: ports.b: the port is in no domain; add `domain: lan`"), "{said}");
}

#[test]
fn a_file_that_is_not_there_fails() {
    let output = pollux(&["check", "/nonexistent.yaml"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("/nonexistent.yaml: cannot be read"));
}

#[test]
fn hostile_yaml_is_refused_and_does_not_hang() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let deep = format!("name: {}1{}\n", "[".repeat(100_000), "]".repeat(100_000));
    for (i, text) in [bomb, &deep, "\u{0}", "- a\n- b\n", "42\n", "name: t\nports: [1]\n"].iter().enumerate() {
        let file = Temp::new(&format!("hostile{i}.yaml"), text);
        let output = pollux(&["check", file.path()]);
        assert_eq!(code(&output), 1, "{i}: {}", stderr(&output));
    }
}

#[test]
fn endless_and_strange_files_are_refused() {
    for file in ["/dev/zero", "/", "/dev/null"] {
        assert_eq!(code(&pollux(&["check", file])), 1, "{file}");
    }
}

#[test]
fn a_name_that_is_a_path_is_nobodys() {
    let file = Temp::new("path.yaml", "name: ../../tmp/x\n");
    assert_eq!(code(&pollux(&["lab", "down", file.path()])), 1);
}

#[test]
fn usage_errors_end_with_2() {
    for args in [&["bogus"][..], &["check"], &["run"], &["port", "add", "x"], &[]] {
        assert_eq!(code(&pollux(args)), 2, "{args:?}");
    }
}

#[test]
fn an_absent_daemon_ends_with_3() {
    for command in ["status", "ports", "fdb", "stats"] {
        let output = pollux(&["--socket", "/nonexistent.sock", command]);
        assert_eq!(code(&output), 3, "{command}");
        assert!(stderr(&output).contains("no daemon at /nonexistent.sock"), "{}", stderr(&output));
    }
}

#[test]
fn a_bad_port_is_found_before_the_daemon_is_asked() {
    let output = pollux(&["--socket", "/nonexistent.sock", "port", "add", "x", "--spec", "{ kind: tapp }"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("--spec:1:9: kind: unknown value `tapp`; did you mean `tap`?"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_lab_that_never_ran_is_down() {
    let file = Temp::new("never.yaml", "name: plxt-never-ran\n");
    let output = pollux(&["lab", "down", file.path()]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn help_and_version_are_answers() {
    for args in [["--help"], ["--version"]] {
        let output = pollux(&args);
        assert_eq!((code(&output), output.stderr.len()), (0, 0));
    }
}

fn piped(args: &[&str], text: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollux"));
    let piped = command.args(args).env_remove("POLLUX_SOCKET").stdin(std::process::Stdio::piped());
    let mut child = piped.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn standard_input_is_a_file() {
    for name in ["-", "/dev/stdin"] {
        let output = piped(&["check", name], "name: t\nports: {}\n");
        assert_eq!(code(&output), 0, "{name}: {}", stderr(&output));
    }
    let output = piped(&["check", "-"], "name: t\nport: {}\n");
    assert!(stderr(&output).starts_with("-:2:1: port: unknown key `port`"), "{}", stderr(&output));
}

#[test]
fn a_warning_is_said_and_is_no_error() {
    let text = "name: t\ndomains: { lan: {} }\nnodes: { a: {}, b: {} }\nports:\n  a: { kind: tap, node: a, domain: lan, ip: 10.9.0.1/24 }\n  b: { kind: tap, node: b, domain: lan, ip: 10.8.0.1/24 }\n";
    let output = piped(&["check", "-"], text);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(stderr(&output).starts_with("warning: -:5:45: ports.a.ip: no other port"), "{}", stderr(&output));
}

#[test]
fn an_empty_variable_names_no_socket() {
    let with = |path: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pollux"));
        command.arg("status").env("POLLUX_SOCKET", path).output().unwrap()
    };
    assert!(code(&with("")) != 2, "{}", stderr(&with("")));
    assert!(stderr(&with("/nonexistent.sock")).contains("no daemon at /nonexistent.sock"));
}

#[test]
fn a_path_that_no_socket_can_have_is_called_so() {
    let path = format!("/run/{}", "d".repeat(120));
    let output = pollux(&["--socket", &path, "status"]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("at most 107 bytes, this one has 125"), "{}", stderr(&output));
}

#[test]
fn a_lab_is_taken_down_in_the_words_of_other_tools() {
    let file = Temp::new("words.yaml", "name: plxt-never-ran\n");
    for verb in ["destroy", "stop"] {
        assert_eq!(code(&pollux(&["lab", verb, file.path()])), 0, "{verb}");
    }
}
