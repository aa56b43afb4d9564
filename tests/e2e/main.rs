//! End to end: the `pollux` binary, real kernels, real namespaces, from outside.
//!
//! Every test has a machine of its own (`common::world`): what is there afterwards and was not before was left behind by
//! the switch. Nothing waits for time to pass, only for conditions. Every scenario ends with the books balanced: frames in
//! equal frames out plus drops, and the pool complete when the switch is down.

#[path = "../common/mod.rs"]
mod common;
/// Packet sockets that show tags.
#[allow(dead_code, reason = "the conformance tests use the rest")]
#[path = "../conformance/wire.rs"]
mod wire;

mod api;
mod churn;
mod configs;
mod crash;
mod demo;
mod device;
mod domains;
mod down;
mod faults;
mod guest;
mod input;
mod lab;
mod layer2;
mod lifecycle;
mod losses;
mod namespaces;
mod offloads;
mod queues;
mod shapes;
mod surroundings;
mod traffic;
mod vlan;
