//! The API as any HTTP client sees it, good manners or not.

use crate::common::world::world;
use crate::lab::{Lab, ask, lan, node, pollux};
use crate::traffic::{ping, v4};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SOCKET: &str = "/run/pollux/pollux.sock";

fn connect() -> UnixStream {
    let stream = UnixStream::connect(SOCKET).expect("the API's socket");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream
}

/// One request on a connection of its own: status and body.
fn request(method: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
    let mut stream = connect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: pollux\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A server that has read enough may close while we still write.
    let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn json_request(method: &str, path: &str, body: &Value) -> (u16, Value) {
    request(method, path, "application/json", &body.to_string())
}

/// An error is JSON, and says what is wrong and what to do.
fn refused((status, answer): (u16, Value), code: u16) {
    let said = |key: &str| answer[key].as_str().is_some_and(|text| !text.is_empty());
    assert!(status == code && said("error") && said("remedy"), "{status}: {answer:#}");
}

#[test]
fn the_api_speaks_plain_http_and_json() {
    world("the_api_speaks_plain_http_and_json", || {
        let lab = Lab::new(&lan("plxt-api", &[("t1", "tap"), ("t2", "tap")]));
        lab.up();
        let mode = fs::metadata(SOCKET).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        for path in ["/v1/status", "/v1/ports", "/v1/fdb", "/v1/stats"] {
            let (status, answer) = request("GET", path, "", "");
            assert_eq!((status, &answer["v"]), (200, &json!(1)), "{path}");
        }
        let guest = json!({ "name": "guest", "kind": "tap", "domain": "lan", "ifname": "plxt-guest" });
        assert_eq!(json_request("POST", "/v1/ports", &guest).0, 200);
        refused(json_request("POST", "/v1/ports", &guest), 400);
        assert_eq!(request("DELETE", "/v1/ports/guest", "", "").0, 200);
        refused(request("DELETE", "/v1/ports/guest", "", ""), 404);
        manners();
        ping(&node("t1"), &v4(1));
        lab.down();
    });
}

/// What no client should send.
fn manners() {
    refused(request("GET", "/v2/stats", "", ""), 404);
    refused(request("PUT", "/v1/stats", "", ""), 404);
    refused(request("POST", "/v1/ports", "application/json", "{ no JSON"), 400);
    refused(request("POST", "/v1/ports", "text/plain", "kind: tap"), 415);
    refused(json_request("POST", "/v1/ports", &json!([1, 2, 3])), 400);
    refused(json_request("POST", "/v1/ports", &json!({ "kind": "tap", "domain": "lan" })), 400);
    refused(
        json_request("POST", "/v1/fdb", &json!({ "domain": "lan", "mac": "ff:ff:ff:ff:ff:ff", "port": "t1" })),
        400,
    );
    refused(
        json_request("POST", "/v1/fdb", &json!({ "domain": "lan", "mac": "02:00:00:00:00:09", "port": "t9" })),
        400,
    );
    let endless = json!({ "name": "x".repeat(1 << 20), "kind": "tap", "domain": "lan" });
    assert_eq!(json_request("POST", "/v1/ports", &endless).0, 413, "bodies are bounded");
    // Half a request, bytes that are none, and nobody who reads the answer.
    for bytes in [&b"GET /v1/st"[..], &[0xff; 4096], b"GET /v1/stats HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let _ = connect().write_all(bytes);
    }
    assert_eq!(ask("status")["ports_open"], 2);
}

#[test]
fn addresses_are_pinned_and_forgotten() {
    world("addresses_are_pinned_and_forgotten", || {
        let lab = Lab::new(&lan("plxt-pin", &[("t1", "tap"), ("v1", "veth")]));
        lab.up();
        let mac = "02:00:00:00:05:05";
        let entry = || {
            let fdb = ask("fdb");
            fdb["entries"].as_array().expect("entries").iter().find(|entry| entry["mac"] == mac).cloned()
        };
        pollux(&["fdb", "add", "lan", mac, "v1"]).ok();
        let pinned = entry().expect("the entry");
        assert_eq!((&pinned["port"], &pinned["kind"], &pinned["age_s"]), (&json!("v1"), &json!("static"), &json!(0)));
        assert_eq!(pollux(&["fdb", "add", "lan", mac, "v9"]).code, 1, "no such port");
        assert_eq!(pollux(&["fdb", "add", "wan", mac, "v1"]).code, 1, "no such domain");
        pollux(&["fdb", "del", "lan", mac]).ok();
        assert!(entry().is_none());
        assert_eq!(pollux(&["fdb", "del", "lan", mac]).code, 1, "not known any more");
        lab.down();
    });
}
