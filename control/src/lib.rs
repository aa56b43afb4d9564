//! The control half of Pollux: from a YAML file to a running switch, and the commands around it.
//!
//! ```text
//! config ─▶ plan ─▶ live ─▶ dataplane::engine
//! (as      (checked, │
//! written) resolved) ├─▶ kernel           interfaces and namespaces
//!                    └─▶ live/journal     what was made
//! cli ─ api/client ── HTTP/JSON ── api ── api/supervisor   the one control thread
//! ```
//!
//! One thread, [`api::supervisor`], owns the [`live::switch`]; everybody else sends it closures. What needs another network
//! namespace runs on a thread that lives for that call only ([`kernel::netns::inside`]).
//!
//! # The map
//!
//! - leaves: [`net`], [`units`], [`named`], [`list`], [`problem`], [`socket`], [`failure`]
//! - [`config`]: the file as written, and where in it everything stands
//! - [`kernel`]: netlink, namespaces, news of links, what machine this is
//! - [`view`]: what the API says, as JSON and for people
//! - [`plan`]: the configuration checked and resolved
//! - [`live`]: the switch, its ports, its guests, the journal
//! - [`api`]: HTTP on a unix socket; the supervisor behind it; its client
//! - [`lab`], [`cli`]: the commands
//!
//! Arrows go one way, down this list backwards: cli → lab → api → live → plan → {view, kernel, config} → leaves. No two
//! modules name each other, not by any detour (`tests/layering.rs` reads the `use` lines).

#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod config;
pub mod failure;
pub mod kernel;
pub mod lab;
pub mod list;
pub mod live;
pub mod named;
pub mod net;
pub mod plan;
pub mod problem;
pub mod socket;
pub mod units;
pub mod view;
