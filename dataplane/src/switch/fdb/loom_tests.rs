//! Every interleaving of two threads over a table of two buckets with two words each (`RUSTFLAGS="--cfg loom"`).

use super::*;
use loom::{sync::Arc, thread};

const FID: Fid = Fid::new(0).unwrap();
const SEED: u64 = 3;
const P0: PortId = PortId(0);
const P1: PortId = PortId(1);
const P2: PortId = PortId(2);

/// The `i`th station in the primary bucket of the first: they compete for slots.
fn mac(i: usize) -> MacAddr {
    let slots = Slots::new(1, Seed::from_u64(SEED));
    let home = |mac| slots.probe(slots.hash(FID, mac)).buckets()[0];
    let mut stations = (0..).map(|n| MacAddr::from_u64(2 * n)).filter(|mac| home(*mac) == 0);
    stations.nth(i).unwrap()
}

/// Runs the model with at most `preemptions` forced switches (bugs that need more than four are unheard of).
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn table() -> Arc<Fdb> {
    Arc::new(Fdb::with_seed(1, SEED))
}

fn beside<R: 'static>(fdb: &Arc<Fdb>, work: impl FnOnce(&Fdb) -> R + 'static) -> thread::JoinHandle<R> {
    let fdb = Arc::clone(fdb);
    thread::spawn(move || work(&fdb))
}

/// The counts are those of the entries, and no key is there twice.
fn assert_consistent(fdb: &Fdb) -> Vec<Record> {
    let entries = fdb.dump(0);
    let on = |port| entries.iter().filter(|entry| entry.port == port && entry.kind == Kind::Learned).count();
    for port in [P0, P1, P2] {
        assert_eq!(fdb.port_count(port) as usize, on(port), "{port:?} {entries:?}");
    }
    let learned = entries.iter().filter(|entry| entry.kind == Kind::Learned).count();
    assert_eq!(fdb.fid_count(FID) as usize, learned);
    assert_eq!(fdb.len() as usize, entries.len());
    for (i, entry) in entries.iter().enumerate() {
        assert!(entries[..i].iter().all(|other| other.mac != entry.mac), "twice: {entries:?}");
    }
    entries
}

#[test]
fn loom_two_learn_one_key() {
    explore(4, || {
        let fdb = table();
        let other = beside(&fdb, |fdb| fdb.learn(FID, mac(1), P0, 1));
        let _ = fdb.learn(FID, mac(1), P1, 1);
        let _ = other.join().unwrap();
        assert_eq!(assert_consistent(&fdb).len(), 1);
    });
}

/// A slot that is freed between the two looks makes the inserters choose different ones.
#[test]
fn loom_doubles_are_removed() {
    explore(4, || {
        let fdb = table();
        let _ = fdb.learn(FID, mac(2), P2, 1);
        let other = beside(&fdb, |fdb| fdb.learn(FID, mac(1), P0, 1));
        assert!(fdb.remove(FID, mac(2)));
        let _ = fdb.learn(FID, mac(1), P1, 1);
        let _ = other.join().unwrap();
        assert_eq!(assert_consistent(&fdb).len(), 1);
    });
}

#[test]
fn loom_two_learn_two_keys_under_a_limit() {
    explore(4, || {
        let fdb = table();
        fdb.set_port_limit(P0, 1);
        let other = beside(&fdb, |fdb| fdb.learn(FID, mac(1), P0, 1));
        let _ = fdb.learn(FID, mac(2), P0, 1);
        let _ = other.join().unwrap();
        assert_eq!(assert_consistent(&fdb).len(), 1);
    });
}

/// The frame wins: the station is known afterwards, with the frame's age.
#[test]
fn loom_learn_against_age() {
    explore(4, || {
        let fdb = table();
        let _ = fdb.learn(FID, mac(1), P0, 1);
        let other = beside(&fdb, |fdb| fdb.age(10, |_| 5));
        let learned = fdb.learn(FID, mac(1), P0, 10);
        assert!(matches!(learned, Learn::Refreshed | Learn::Inserted), "{learned:?}");
        let _ = other.join().unwrap();
        assert_eq!(fdb.age(10, |_| 5), 0);
        assert_eq!(fdb.dump(10)[0].age_s, 0);
        assert_eq!(assert_consistent(&fdb).len(), 1);
    });
}

#[test]
fn loom_learn_against_stale_mark() {
    explore(4, || {
        let fdb = table();
        let _ = fdb.learn(FID, mac(1), P0, 1);
        let other = beside(&fdb, |fdb| fdb.age(4, |_| 5));
        assert_eq!(fdb.learn(FID, mac(1), P0, 4), Learn::Refreshed);
        let _ = other.join().unwrap();
        assert_eq!(fdb.learn(FID, mac(1), P0, 4), Learn::Fresh, "the mark does not outlive the frame");
    });
}

#[test]
fn loom_static_beats_learn() {
    explore(4, || {
        let fdb = table();
        let other = beside(&fdb, |fdb| fdb.insert_fixed(FID, mac(1), P1, Fixed::Sticky).unwrap());
        let _ = fdb.learn(FID, mac(1), P0, 1);
        let _ = other.join().unwrap();
        assert_eq!(fdb.lookup(FID, mac(1)), Some(P1));
        assert_eq!(assert_consistent(&fdb).len(), 1);
    });
}

/// As above, and the learner may have chosen the slot before the static entry's.
#[test]
fn loom_static_beats_its_double() {
    explore(4, || {
        let fdb = table();
        let _ = fdb.learn(FID, mac(2), P2, 1);
        let other = beside(&fdb, |fdb| fdb.insert_fixed(FID, mac(1), P1, Fixed::Sticky));
        assert!(fdb.remove(FID, mac(2)));
        let _ = fdb.learn(FID, mac(1), P0, 1);
        assert_eq!(other.join().unwrap(), Ok(()));
        assert_eq!(fdb.lookup(FID, mac(1)), Some(P1));
        assert_eq!(assert_consistent(&fdb).len(), 1);
    });
}

#[test]
fn loom_move_against_flush() {
    explore(4, || {
        let fdb = table();
        let _ = fdb.learn(FID, mac(1), P0, 1);
        let other = beside(&fdb, |fdb| fdb.flush_port(P0));
        let learned = fdb.learn(FID, mac(1), P1, 1);
        assert!(matches!(learned, Learn::Moved { from: P0 } | Learn::Inserted), "{learned:?}");
        let _ = other.join().unwrap();
        assert_eq!(fdb.lookup(FID, mac(1)), Some(P1));
        assert_consistent(&fdb);
    });
}

/// A slot is emptied, given to another key, and moved, under a reader's eyes: never another key's port, never a port
/// that is put together from two entries.
#[test]
fn loom_lookup_sees_only_ports_the_key_had() {
    explore(4, || {
        let fdb = table();
        let _ = fdb.learn(FID, mac(1), P0, 1);
        let writer = beside(&fdb, |fdb| {
            assert!(fdb.remove(FID, mac(1)));
            let _ = fdb.learn(FID, mac(2), P1, 2);
            let _ = fdb.learn(FID, mac(2), P2, 2);
        });
        assert!(matches!(fdb.lookup(FID, mac(1)), None | Some(P0)));
        assert!(matches!(fdb.lookup(FID, mac(2)), None | Some(P1 | P2)));
        assert!(matches!(fdb.lookup(FID, mac(1)), None | Some(P0)));
        writer.join().unwrap();
        assert_eq!((fdb.lookup(FID, mac(1)), fdb.lookup(FID, mac(2))), (None, Some(P2)));
    });
}

/// Two workers insert into full buckets: each takes the place of its own port's entry or goes without.
#[test]
fn loom_two_evict() {
    explore(4, || {
        let fdb = table();
        for i in 1..=4 {
            let _ = fdb.learn(FID, mac(i), P0, 1);
        }
        let before = fdb.len();
        let other = beside(&fdb, |fdb| fdb.learn(FID, mac(5), P0, 2));
        let _ = fdb.learn(FID, mac(6), P0, 3);
        let _ = other.join().unwrap();
        assert!(assert_consistent(&fdb).len() >= before as usize);
    });
}

/// A static entry that a worker moves while control pins it: the pin holds, whoever comes first.
#[test]
fn loom_a_pin_outlives_a_move() {
    explore(4, || {
        let fdb = table();
        fdb.insert_fixed(FID, mac(1), P0, Fixed::Static).unwrap();
        let other = beside(&fdb, |fdb| fdb.learn(FID, mac(1), P1, 1));
        fdb.insert_fixed(FID, mac(1), P2, Fixed::Sticky).unwrap();
        let learned = other.join().unwrap();
        assert!(matches!(learned, Learn::Moved { from: P0 } | Learn::Pinned { to: P2 }), "{learned:?}");
        let entries = assert_consistent(&fdb);
        assert!(matches!(entries[..], [Record { port: P2, kind: Kind::Sticky, .. }]), "{entries:?}");
    });
}

/// A static entry that two workers see on two ports: it stays static, and is on one of them.
#[test]
fn loom_a_static_entry_moves_whole() {
    explore(4, || {
        let fdb = table();
        fdb.insert_fixed(FID, mac(1), P0, Fixed::Static).unwrap();
        let other = beside(&fdb, |fdb| fdb.learn(FID, mac(1), P1, 1));
        let _ = fdb.learn(FID, mac(1), P2, 1);
        let _ = other.join().unwrap();
        let entries = assert_consistent(&fdb);
        assert!(matches!(entries[..], [Record { port: P1 | P2, kind: Kind::Static, .. }]), "{entries:?}");
    });
}
