//! Cases by hand, colliding keys, the fill table, and threads that must leave exact counts.

use super::*;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering as O};

const P1: PortId = PortId(1);
const P2: PortId = PortId(1023);

fn fid(id: u16) -> Fid {
    Fid::new(id).unwrap()
}

fn mac(i: u64) -> MacAddr {
    MacAddr::from_u64(0x0200_0000_0000 + i)
}

/// `n` keys with the same two buckets.
fn colliding(fdb: &Fdb, n: usize) -> Vec<(Fid, MacAddr)> {
    let home = fdb.slots.probe(fdb.hash(fid(0), mac(0))).buckets();
    let same = |(id, mac): &(Fid, MacAddr)| fdb.slots.probe(fdb.hash(*id, *mac)).buckets() == home;
    let station = |rem| fdb.slots.unhash(HashedKey::join(home[0], rem, 13));
    (0..).map(station).filter(|(_, mac)| !mac.is_multicast()).filter(same).take(n).collect()
}

/// The counts are those of the entries, and no key is there twice.
fn assert_consistent(fdb: &Fdb) {
    let (mut ports, mut fids, mut keys) = (HashMap::new(), HashMap::new(), HashSet::new());
    let entries = fdb.dump(0);
    for entry in &entries {
        assert!(keys.insert((entry.fid, entry.mac)), "{entry:?} is there twice");
        if entry.kind == Kind::Learned {
            *ports.entry(entry.port).or_insert(0) += 1;
            *fids.entry(entry.fid).or_insert(0) += 1;
        }
    }
    assert_eq!(fdb.len() as usize, entries.len());
    for port in (0..1024).map(PortId) {
        assert_eq!(fdb.port_count(port), *ports.get(&port).unwrap_or(&0), "{port:?}");
    }
    for id in (0..8192).map(fid) {
        assert_eq!(fdb.fid_count(id), *fids.get(&id).unwrap_or(&0), "{id:?}");
    }
}

#[test]
fn learns_refreshes_moves() {
    let fdb = Fdb::new(100);
    assert!(fdb.is_empty());
    assert_eq!(fdb.lookup(fid(0), mac(1)), None);
    assert_eq!(fdb.learn(fid(0), mac(1), P1, 50), Learn::Inserted);
    assert_eq!(fdb.lookup(fid(0), mac(1)), Some(P1));
    assert_eq!(fdb.lookup(fid(1), mac(1)), None, "another filtering id is another key");
    assert_eq!(fdb.learn(fid(0), mac(1), P1, 50), Learn::Fresh);
    assert_eq!(fdb.learn(fid(0), mac(1), P1, 51), Learn::Refreshed);
    assert_eq!(fdb.learn(fid(0), mac(1), P2, 51), Learn::Moved { from: P1 });
    assert_eq!(fdb.lookup(fid(0), mac(1)), Some(P2));
    assert_eq!((fdb.port_count(P1), fdb.port_count(P2), fdb.fid_count(fid(0))), (0, 1, 1));
    let entry = Record { fid: fid(0), mac: mac(1), port: P2, kind: Kind::Learned, age_s: 9 };
    assert_eq!(fdb.dump(60), [entry]);
    assert!(fdb.remove(fid(0), mac(1)) && !fdb.remove(fid(0), mac(1)));
    assert_consistent(&fdb);
}

#[test]
fn static_entries_follow_their_station_and_keep_their_kind() {
    let fdb = Fdb::new(100);
    assert_eq!(fdb.insert_fixed(fid(3), mac(1), P1, Fixed::Static), Ok(()));
    assert_eq!(fdb.learn(fid(3), mac(1), P1, 5), Learn::Fresh);
    assert_eq!(fdb.learn(fid(3), mac(1), P2, 6), Learn::Moved { from: P1 });
    assert_eq!(fdb.dump(99), [Record { fid: fid(3), mac: mac(1), port: P2, kind: Kind::Static, age_s: 0 }]);
    assert_eq!((fdb.age(1000, |_| 1), fdb.port_count(P2), fdb.len()), (0, 0, 1));
    assert_consistent(&fdb);
}

#[test]
fn a_filter_is_no_port_s_entry() {
    let fdb = Fdb::new(100);
    assert_eq!(fdb.insert_fixed(fid(3), mac(1), P1, Fixed::Filter), Ok(()));
    assert_eq!(fdb.find_at(fdb.hash(fid(3), mac(1))), Some(Hit { port: P1, kind: Kind::Filter }));
    assert_eq!(fdb.learn(fid(3), mac(1), P2, 6), Learn::Pinned { to: P1 });
    assert_eq!((fdb.flush_port(P1), fdb.flush_matching(|r| r.kind == Kind::Learned)), (0, 0));
    assert_eq!(fdb.flush_matching(|r| r.kind == Kind::Filter && r.mac == mac(1) && r.fid == fid(3)), 1);
    assert_consistent(&fdb);
}

#[test]
fn filtering_ids_may_share_a_limit() {
    let fdb = Fdb::new(100);
    fdb.share_limit(fid(5), fid(3));
    fdb.set_fid_limit(fid(3), 2);
    assert_eq!(fdb.learn(fid(3), mac(1), P1, 1), Learn::Inserted);
    assert_eq!(fdb.learn(fid(5), mac(1), P1, 1), Learn::Inserted);
    assert_eq!(fdb.learn(fid(5), mac(2), P1, 1), Learn::DomainLimit);
    assert_eq!((fdb.fid_count(fid(3)), fdb.fid_count(fid(5))), (2, 2), "one count");
    assert_eq!(fdb.flush_fid(fid(5)), 1);
    assert_eq!(fdb.learn(fid(3), mac(2), P1, 1), Learn::Inserted);
}

#[test]
fn sticky_entries_stay_where_they_are() {
    let fdb = Fdb::new(100);
    assert_eq!(fdb.learn(fid(3), mac(1), P1, 5), Learn::Inserted);
    assert_eq!(fdb.insert_fixed(fid(3), mac(1), P2, Fixed::Sticky), Ok(()));
    assert_eq!(fdb.port_count(P1), 0, "a static entry counts towards no limit");
    assert_eq!(fdb.learn(fid(3), mac(1), P1, 6), Learn::Pinned { to: P2 });
    assert_eq!(fdb.learn(fid(3), mac(1), P2, 7), Learn::Fresh);
    assert_eq!(fdb.age(1000, |_| 1), 0);
    assert_eq!(fdb.insert_fixed(fid(3), mac(1), P1, Fixed::Sticky), Ok(()), "control may point it elsewhere");
    assert_eq!(fdb.lookup(fid(3), mac(1)), Some(P1));
    assert_eq!(fdb.dump(99)[0], Record { fid: fid(3), mac: mac(1), port: P1, kind: Kind::Sticky, age_s: 0 });
    assert_eq!(fdb.len(), 1);
    assert_eq!(fdb.flush_port(P1), 1);
    assert_consistent(&fdb);
}

#[test]
fn refuses_static_entries_that_could_never_match() {
    let fdb = Fdb::new(100);
    let zero = fdb.insert_fixed(fid(0), MacAddr([0; 6]), P1, Fixed::Sticky).unwrap_err();
    assert!(zero.to_string().contains("00:00:00:00:00:00"), "{zero}");
    assert_eq!(fdb.insert_fixed(fid(0), MacAddr([1; 6]), P1, Fixed::Sticky), Err(FdbError::Address(MacAddr([1; 6]))));
    let port = fdb.insert_fixed(fid(0), mac(1), PortId(1024), Fixed::Sticky);
    assert_eq!(port, Err(FdbError::Port { mac: mac(1), port: 1024 }));
    assert!(Fid::new(8192).is_none());
}

#[test]
fn ageing_counts_from_the_last_frame() {
    let fdb = Fdb::new(100);
    let ageing = |id: Fid| if id == fid(1) { 10 } else { u32::MAX };
    let _ = (fdb.learn(fid(1), mac(1), P1, 100), fdb.learn(fid(2), mac(1), P1, 100));
    assert_eq!(fdb.age(109, ageing), 0);
    assert_eq!(fdb.learn(fid(1), mac(1), P1, 109), Learn::Refreshed);
    assert_eq!(fdb.age(118, ageing), 0);
    assert_eq!(fdb.age(119, ageing), 1);
    assert_eq!(fdb.age(u32::MAX, ageing), 0, "never");
    assert_eq!(fdb.len(), 1);
    assert_consistent(&fdb);
}

/// A worker's clock may be a second ahead of control's.
#[test]
fn an_entry_from_the_future_is_young() {
    let fdb = Fdb::new(100);
    let _ = fdb.learn(fid(1), mac(1), P1, 100);
    assert_eq!(fdb.age(99, |_| 1), 0);
    assert_eq!(fdb.dump(99)[0].age_s, 0);
}

/// Periods that are multiples of the stamp's seven seconds are the ones a bare stamp would miss.
#[test]
fn rare_but_regular_stations_do_not_age_out() {
    for period in [1, 6, 7, 8, 14, 21, 60, 119, 120] {
        let (fdb, mut cursor) = (Fdb::new(100), AgeCursor::default());
        for now in 0..2000 {
            if now % period == 0 {
                let learned = fdb.learn(fid(1), mac(1), P1, now);
                assert!(now == 0 || learned == Learn::Refreshed, "period {period} at {now}: {learned:?}");
            }
            for _ in 0..fdb.steps_per_second() {
                assert_eq!(fdb.age_step(&mut cursor, now, |_| 121), 0, "period {period} at {now}");
            }
        }
    }
}

#[test]
fn limits_hold_for_ports_and_filtering_ids() {
    let fdb = Fdb::new(100);
    fdb.set_port_limit(P1, 2);
    fdb.set_fid_limit(fid(2), 1);
    let learn = |id, i, port| fdb.learn(fid(id), mac(i), port, 1);
    assert_eq!((learn(0, 1, P1), learn(0, 2, P1)), (Learn::Inserted, Learn::Inserted));
    assert_eq!((learn(0, 3, P1), learn(0, 3, P2)), (Learn::PortLimit, Learn::Inserted));
    assert_eq!(learn(0, 3, P1), Learn::PortLimit, "nor by moving");
    assert_eq!(fdb.lookup(fid(0), mac(3)), Some(P2));
    assert_eq!((learn(2, 1, P2), learn(2, 2, P2)), (Learn::Inserted, Learn::DomainLimit));
    assert!(fdb.insert_fixed(fid(2), mac(9), P1, Fixed::Sticky).is_ok(), "limits are for what strangers can do");
    assert_consistent(&fdb);
}

#[test]
fn flushing_takes_one_filtering_id_or_port() {
    let fdb = Fdb::new(1000);
    for i in 0..600 {
        let port = PortId(u16::try_from(i % 3).unwrap());
        assert_eq!(fdb.learn(fid(u16::try_from(i % 2).unwrap()), mac(i), port, 1), Learn::Inserted);
    }
    assert_eq!(fdb.flush_port(PortId(2)), 200);
    assert_eq!(fdb.flush_fid(fid(1)), 200);
    assert!(fdb.iter(1).all(|entry| entry.port != PortId(2) && entry.fid == fid(0)));
    assert_eq!(fdb.len(), 200);
    assert_consistent(&fdb);
}

#[test]
fn a_flood_takes_only_its_own_ports_entries() {
    let fdb = Fdb::with_seed(100, 7);
    let keys = colliding(&fdb, 200);
    for (i, (id, mac)) in keys[..8].iter().enumerate() {
        assert_eq!(fdb.learn(*id, *mac, P1, u32::try_from(i).unwrap()), Learn::Inserted);
    }
    for (i, (id, mac)) in keys[8..].iter().enumerate() {
        assert_eq!(fdb.learn(*id, *mac, P2, 10 + u32::try_from(i).unwrap()), Learn::Inserted);
    }
    assert!(keys[..8].iter().all(|(id, mac)| fdb.lookup(*id, *mac) == Some(P1)));
    assert!(keys[192..].iter().all(|(id, mac)| fdb.lookup(*id, *mac) == Some(P2)), "the oldest went");
    assert_eq!(fdb.learn(keys[20].0, keys[20].1, PortId(5), 300), Learn::Full);
    assert_eq!((fdb.len(), fdb.port_count(PortId(5))), (16, 0));
    assert_consistent(&fdb);
}

#[test]
fn static_entries_push_out_learned_ones_but_not_each_other() {
    let fdb = Fdb::with_seed(100, 7);
    let keys = colliding(&fdb, 33);
    for (id, mac) in &keys[..16] {
        assert_eq!(fdb.learn(*id, *mac, P1, 1), Learn::Inserted);
    }
    for (id, mac) in &keys[16..32] {
        assert_eq!(fdb.insert_fixed(*id, *mac, P2, Fixed::Sticky), Ok(()));
    }
    let (id, mac) = keys[32];
    assert_eq!(fdb.insert_fixed(id, mac, P2, Fixed::Sticky), Err(FdbError::Full(mac)));
    assert_eq!(fdb.learn(id, mac, P1, 1), Learn::Full);
    assert_eq!((fdb.len(), fdb.port_count(P1)), (16, 0));
    assert_consistent(&fdb);
}

/// Four threads learn, move, make static, remove, flush and age the same keys, some of them in one pair of buckets.
#[test]
fn threads_leave_exact_counts_and_no_doubles() {
    for round in 0..20 {
        let fdb = Fdb::with_seed(100, round);
        let mut keys = colliding(&fdb, 20);
        keys.extend((0..20).map(|i| (fid(i % 2), mac(u64::from(i)))));
        fdb.set_port_limit(PortId(3), 5);
        fdb.set_fid_limit(keys[30].0, 7);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for worker in 1..=3 {
                let (fdb, keys) = (&fdb, &keys);
                threads.spawn(move || learn_at_random(fdb, keys, worker + round * 8));
            }
            let (fdb, keys, stop) = (&fdb, &keys, &stop);
            threads.spawn(move || control_at_random(fdb, keys, stop));
            threads.spawn(move || {
                while !stop.load(O::Relaxed) {
                    assert!(keys.iter().filter_map(|key| fdb.lookup(key.0, key.1)).all(|port| port.0 < 5));
                }
            });
            std::thread::sleep(std::time::Duration::from_millis(20));
            stop.store(true, O::Relaxed);
        });
        assert_consistent(&fdb);
        assert!(fdb.port_count(PortId(3)) <= 5 && fdb.fid_count(keys[30].0) <= 7);
    }
}

fn xorshift(x: &mut u64) -> u32 {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    u32::try_from(*x >> 32).unwrap()
}

fn learn_at_random(fdb: &Fdb, keys: &[(Fid, MacAddr)], seed: u64) {
    let mut x = seed * 0x9e37_79b9;
    for now in 0..20_000 {
        let (id, mac) = keys[xorshift(&mut x) as usize % keys.len()];
        let port = PortId(u16::try_from(xorshift(&mut x) % 4).unwrap());
        let _ = fdb.learn(id, mac, port, now / 1000);
    }
}

fn control_at_random(fdb: &Fdb, keys: &[(Fid, MacAddr)], stop: &AtomicBool) {
    let mut x = 99;
    while !stop.load(O::Relaxed) {
        let (id, mac) = keys[xorshift(&mut x) as usize % keys.len()];
        let _ = match xorshift(&mut x) % 16 {
            0 => fdb.flush_port(PortId(2)) > 0,
            1 => fdb.flush_fid(id) > 0,
            2 => fdb.age(u32::MAX, |_| 1) > 0,
            3..8 => fdb.insert_fixed(id, mac, PortId(4), Fixed::Sticky).is_ok(),
            _ => fdb.remove(id, mac),
        };
    }
}

/// Prints the table in the module head.
#[test]
#[ignore = "a measurement"]
fn fill_table() {
    println!("//! | load | of 64 k slots: did not fit | secondary | of 2 M slots: did not fit | secondary |");
    for percent in [25, 40, 50, 60, 70, 80, 85, 90, 95] {
        let cells = [1 << 15, 1 << 20].map(|entries| fill(entries, percent));
        println!("//! | 0.{percent} | {} | {} |", cells[0], cells[1]);
    }
}

fn fill(entries: u32, percent: usize) -> String {
    let fdb = Fdb::with_seed(entries, 0x5eed);
    let n = fdb.slots() * percent / 100;
    let mut x = 88_172_645_463_325_252;
    let mut refused = 0;
    for i in 0..n {
        let mac = MacAddr::from_u64(u64::from(xorshift(&mut x)) << 16 | u64::from(xorshift(&mut x) >> 16));
        // Many ports, so that next to nothing makes way for its own port's entry.
        let port = PortId(u16::try_from(i % 1024).unwrap());
        refused += usize::from(fdb.learn(fid(1), mac, port, 1) == Learn::Full);
    }
    let secondary = (0..fdb.slots()).filter(|slot| fdb.slots.load(*slot).tag().is_alt()).count();
    format!("{refused} ({:.4} %) | {:.1} %", 100.0 * refused as f64 / n as f64, 100.0 * secondary as f64 / n as f64)
}
