//! The whole pipeline against a switch made of a HashMap (`reference.rs`): what comes out of each port, what is counted,
//! which addresses are known must be the same after every step of a random life; and in the end no frame is missing.
//!
//! Three subjects: the bare switch on one thread, and the engine with one and with two workers.

#[path = "../common/mod.rs"]
mod common;

mod bare;
mod budget;
mod guards;
mod layer2;
mod ops;
mod reference;
mod storm;
mod subject;
mod wired;

use bare::Bare;
use common::pool;
use dataplane::mem::Mempool;
use ops::{Op, life};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::{Arc, LazyLock};
use subject::compare;
use wired::Wired;

/// One pool for all lives: each gives back what it took.
static POOL: LazyLock<Arc<Mempool>> = LazyLock::new(|| pool(16384));

/// Lives of up to `length` steps; a failing one is shortened and printed. Nothing is written to the source tree.
fn live(cases: u32, length: usize, life_of: impl Fn(Vec<Op>) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    TestRunner::new(config).run(&life(length), life_of).unwrap_or_else(|failure| panic!("{failure}"));
}

/// Without ageing: the engine's clock cannot be turned.
fn timeless(mut ops: Vec<Op>) -> Vec<Op> {
    ops.retain(|op| !matches!(op, Op::Tick(_)));
    ops
}

#[test]
fn the_switch_does_what_a_hashmap_does() {
    live(512, 40, |ops| compare(Bare::new(&POOL), &ops));
}

#[test]
fn the_engine_with_one_worker_does_what_a_hashmap_does() {
    let pool = pool(16384);
    live(96, 30, |ops| compare(Wired::new(&pool, 1), &timeless(ops)));
}

#[test]
fn the_engine_with_two_workers_does_what_a_hashmap_does() {
    let pool = pool(16384);
    live(96, 30, |ops| compare(Wired::new(&pool, 2), &timeless(ops)));
}
