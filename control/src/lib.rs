//! The control half of Pollux: from a YAML file to a running switch, and the commands around it.
//!
//! ```text
//! file ─ document ─▶ config ─ plan ─▶ switch ─▶ ports ─▶ dataplane::engine
//!        (places)    (as      (checked, │        │
//!                    written) resolved) │        ├─▶ netns, netlink   interfaces and namespaces
//!                                       │        └─▶ state            the journal of what was made
//! command ─ client ── HTTP/JSON ── api ─┴─ supervisor                 the one control thread
//! ```
//!
//! One thread, [`supervisor`], owns the [`switch`]; everybody else sends it closures. What needs another network namespace
//! runs on a thread that lives for that call only ([`netns::inside`]).
//!
//! - reading: [`units`], [`named`], [`config`], [`document`], [`problem`]
//! - checking: [`machine`], [`plan`], [`privilege`]
//! - making: [`netns`], [`netlink`], [`state`], [`ports`], [`vhost`], [`monitor`], [`switch`]
//! - talking: [`view`], [`api`], [`supervisor`], [`client`], [`text`]
//! - commands: [`cli`], [`command`], [`lab`]

#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod document;
pub mod lab;
pub mod machine;
pub mod monitor;
pub mod named;
pub mod netlink;
pub mod netns;
pub mod plan;
pub mod ports;
pub mod privilege;
#[cfg(test)]
pub(crate) mod privileged;
pub mod problem;
pub mod state;
pub mod supervisor;
pub mod switch;
pub mod text;
pub mod units;
pub mod vhost;
pub mod view;
