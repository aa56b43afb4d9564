//! The table against a `HashMap` that counts: every answer of every call, for random sequences of calls.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Debug, Clone)]
enum Op {
    Learn(u16, u64, u16),
    Lookup(u16, u64),
    Static(u16, u64, u16),
    Remove(u16, u64),
    FlushPort(u16),
    FlushFid(u16),
    PortLimit(u16, u32),
    FidLimit(u16, u32),
    Seconds(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let (fid, mac, port) = (0..3u16, 1..12u64, 0..4u16);
    prop_oneof![
        12 => (fid.clone(), mac.clone(), port.clone()).prop_map(|(f, m, p)| Op::Learn(f, m, p)),
        4 => (fid.clone(), mac.clone()).prop_map(|(f, m)| Op::Lookup(f, m)),
        1 => (fid.clone(), mac.clone(), port.clone()).prop_map(|(f, m, p)| Op::Static(f, m, p)),
        1 => (fid.clone(), mac).prop_map(|(f, m)| Op::Remove(f, m)),
        1 => port.clone().prop_map(Op::FlushPort),
        1 => fid.clone().prop_map(Op::FlushFid),
        1 => (port, 0..8u32).prop_map(|(p, n)| Op::PortLimit(p, n)),
        1 => (fid, 0..12u32).prop_map(|(f, n)| Op::FidLimit(f, n)),
        3 => (1..12u32).prop_map(Op::Seconds),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    port: u16,
    fixed: bool,
    seen: u32,
}

#[derive(Debug, Default)]
struct Model {
    entries: HashMap<(u16, u64), Entry>,
    port_limits: HashMap<u16, u32>,
    fid_limits: HashMap<u16, u32>,
}

fn count(matching: impl Iterator<Item = bool>) -> u32 {
    matching.map(u32::from).sum()
}

impl Model {
    fn port_count(&self, port: u16) -> u32 {
        count(self.entries.values().map(|entry| entry.port == port && !entry.fixed))
    }

    fn fid_count(&self, fid: u16) -> u32 {
        count(self.entries.iter().map(|(key, entry)| key.0 == fid && !entry.fixed))
    }

    fn learn(&mut self, key: (u16, u64), port: u16, now: u32) -> Learn {
        let port_full = self.port_count(port) >= *self.port_limits.get(&port).unwrap_or(&u32::MAX);
        let fid_full = self.fid_count(key.0) >= *self.fid_limits.get(&key.0).unwrap_or(&u32::MAX);
        let new = Entry { port, fixed: false, seen: now };
        match self.entries.get_mut(&key) {
            Some(old) if old.fixed => {
                return if old.port == port { Learn::Fresh } else { Learn::Pinned { to: PortId(old.port) } };
            }
            Some(old) if *old == new => return Learn::Fresh,
            Some(old) if old.port == port => {
                *old = new;
                return Learn::Refreshed;
            }
            _ if port_full => return Learn::PortLimit,
            None if fid_full => return Learn::DomainLimit,
            _ => {}
        }
        match self.entries.insert(key, new) {
            Some(old) => Learn::Moved { from: PortId(old.port) },
            None => Learn::Inserted,
        }
    }

    fn keep(&mut self, keep: impl Fn(&(u16, u64), &Entry) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|key, entry| keep(key, entry));
        before - self.entries.len()
    }
}

/// Filtering id `n` ages after 5 × (n + 1) seconds.
fn ageing(fid: u16) -> u32 {
    5 * (u32::from(fid) + 1)
}

fn key(fid: u16, mac: u64) -> (Fid, MacAddr) {
    (Fid::new(fid).unwrap(), MacAddr::from_u64(mac << 1))
}

fn step(fdb: &Fdb, model: &mut Model, now: &mut u32, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Learn(f, m, p) => {
            let (fid, mac) = key(f, m);
            prop_assert_eq!(fdb.learn(fid, mac, PortId(p), *now), model.learn((f, m), p, *now));
        }
        Op::Lookup(f, m) => {
            let (fid, mac) = key(f, m);
            prop_assert_eq!(fdb.lookup(fid, mac), model.entries.get(&(f, m)).map(|entry| PortId(entry.port)));
        }
        Op::Static(f, m, p) => {
            let (fid, mac) = key(f, m);
            prop_assert_eq!(fdb.insert_fixed(fid, mac, PortId(p), Fixed::Sticky), Ok(()));
            model.entries.insert((f, m), Entry { port: p, fixed: true, seen: 0 });
        }
        Op::Remove(f, m) => {
            let (fid, mac) = key(f, m);
            prop_assert_eq!(fdb.remove(fid, mac), model.entries.remove(&(f, m)).is_some());
        }
        Op::FlushPort(p) => prop_assert_eq!(fdb.flush_port(PortId(p)), model.keep(|_, entry| entry.port != p)),
        Op::FlushFid(f) => {
            prop_assert_eq!(fdb.flush_fid(key(f, 0).0), model.keep(|key, _| key.0 != f))
        }
        Op::PortLimit(p, n) => {
            fdb.set_port_limit(PortId(p), n);
            model.port_limits.insert(p, n);
        }
        Op::FidLimit(f, n) => {
            fdb.set_fid_limit(key(f, 0).0, n);
            model.fid_limits.insert(f, n);
        }
        Op::Seconds(n) => {
            for _ in 0..n {
                *now += 1;
                let gone = model.keep(|key, entry| entry.fixed || *now - entry.seen < ageing(key.0));
                prop_assert_eq!(fdb.age(*now, |fid| ageing(fid.get())), gone);
            }
        }
    }
    Ok(())
}

fn assert_same_entries(fdb: &Fdb, model: &Model, now: u32) -> Result<(), TestCaseError> {
    let mut listed: Vec<_> = fdb.dump(now);
    listed.sort_by_key(|record| (record.fid, record.mac));
    let mut expected: Vec<_> = model
        .entries
        .iter()
        .map(|(&(f, m), entry)| {
            let (fid, mac) = key(f, m);
            let kind = if entry.fixed { Kind::Sticky } else { Kind::Learned };
            let age_s = if entry.fixed { 0 } else { now - entry.seen };
            Record { fid, mac, port: PortId(entry.port), kind, age_s }
        })
        .collect();
    expected.sort_by_key(|record| (record.fid, record.mac));
    prop_assert_eq!(listed, expected);
    prop_assert_eq!(fdb.len() as usize, model.entries.len());
    for id in 0..4 {
        prop_assert_eq!(fdb.port_count(PortId(id)), model.port_count(id));
        prop_assert_eq!(fdb.fid_count(key(id, 0).0), model.fid_count(id));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn answers_like_a_map_that_counts(seed: u64, ops in prop::collection::vec(op(), 1..120)) {
        let (fdb, mut model, mut now) = (Fdb::with_seed(64, seed), Model::default(), 1000);
        for op in ops {
            step(&fdb, &mut model, &mut now, op)?;
        }
        assert_same_entries(&fdb, &model, now)?;
    }
}
