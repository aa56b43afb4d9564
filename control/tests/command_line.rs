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
