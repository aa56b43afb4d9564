//! State of the guards: one copy per worker, of the traffic that this worker sees.

use super::fdb::HashedKey;
use super::notice::Traffic;
use super::policy::{MoveGuard, Rate, Storm};
use crate::lcore;
use crate::port::MAX_PORTS;

/// Addresses whose moves are counted at a time; one that falls on another's place takes it.
const FLAPS: usize = 1024;

/// Membership messages that control is told of, per port and worker: no port can keep it from hearing the others.
const HEARD: Rate = Rate { per_second: 1000, burst: 600 };

/// A rate in cycles, as the generic cell rate algorithm wants it (ITU-T I.371): a frame conforms if it does not come
/// more than `tolerance` before its time, and moves the time of the next by `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    interval: u64,
    tolerance: u64,
}

impl Pace {
    /// Nothing conforms.
    pub(super) const NONE: Self = Self { interval: u64::MAX, tolerance: 0 };

    /// One of `shares` equal shares of a rate.
    pub(super) fn new(rate: Rate, shares: u32) -> Self {
        let each = u128::from(lcore::hz()) * u128::from(shares.max(1));
        let interval = match u128::from(rate.per_second) {
            0 => u64::MAX,
            per_second => u64::try_from(each / per_second).unwrap_or(u64::MAX),
        };
        Self { interval, tolerance: interval.saturating_mul(u64::from(rate.burst.max(1)) - 1) }
    }

    /// Whether a frame at cycle `now` conforms; `due` is when the next would be on time.
    #[inline]
    fn admits(self, due: &mut u64, now: u64) -> bool {
        if self.interval == u64::MAX || due.saturating_sub(now) > self.tolerance {
            return false;
        }
        *due = (*due).max(now).saturating_add(self.interval);
        true
    }
}

/// Storm control of a port, compiled. By [`Traffic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Paces([Option<Pace>; 3]);

impl Paces {
    pub(super) fn new(storm: &Storm, shares: u32) -> Self {
        let rates = [storm.broadcast, storm.multicast, storm.unknown_unicast];
        Self(rates.map(|rate| rate.map(|rate| Pace::new(rate, shares))))
    }
}

/// State of storm control for a port.
#[derive(Debug, Clone, Copy, Default)]
struct PortState {
    /// When the next frame of each kind would be on time.
    due: [u64; 3],
    /// When the next membership message would be on time.
    heard_due: u64,
    /// When the next frame for macvlan's broadcast queue would be on time.
    queue_due: u64,
    /// The second of the last notice about each kind.
    told: [u32; 3],
    /// The second of the last report of a loop.
    loop_told: u32,
}

/// How often an address has moved of late.
#[derive(Debug, Clone, Copy)]
struct Flap {
    key: Option<HashedKey>,
    since: u32,
    moves: u32,
    held_until: u32,
}

impl Flap {
    const CALM: Self = Self { key: None, since: 0, moves: 0, held_until: 0 };
}

/// The verdict of the move guard on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoveResult {
    /// It may move.
    Allowed,
    /// It moved too often, just now: it is held from here on.
    Exceeded,
    /// It is still held.
    Held,
}

/// All guards of a worker.
#[derive(Debug)]
pub(super) struct Guards {
    ports: Box<[PortState]>,
    flaps: Box<[Flap]>,
    heard_pace: Pace,
}

impl Guards {
    pub(super) fn new() -> Self {
        Self {
            ports: vec![PortState::default(); MAX_PORTS].into(),
            flaps: vec![Flap::CALM; FLAPS].into(),
            heard_pace: Pace::new(HEARD, 1),
        }
    }

    /// The port has these rates from now on: what an older rate has put off is not put off longer than they would.
    pub(super) fn repace(&mut self, port: usize, paces: &Paces, now: u64) {
        for (due, pace) in self.ports[port].due.iter_mut().zip(paces.0) {
            let ahead = pace.map_or(0, |pace| pace.tolerance.saturating_add(pace.interval));
            *due = (*due).min(now.saturating_add(ahead));
        }
    }

    /// Another port may have this id next.
    pub(super) fn forget(&mut self, port: usize) {
        self.ports[port] = PortState::default();
    }

    /// Whether storm control lets a frame of that kind pass on the port at cycle `now`.
    #[inline]
    pub(super) fn calm(&mut self, port: usize, paces: &Paces, traffic: Traffic, now: u64) -> bool {
        let kind = traffic as usize;
        paces.0[kind].is_none_or(|pace| pace.admits(&mut self.ports[port].due[kind], now))
    }

    /// Whether control should be told of another membership message of the port at cycle `now`.
    pub(super) fn hear(&mut self, port: usize, now: u64) -> bool {
        let pace = self.heard_pace;
        pace.admits(&mut self.ports[port].heard_due, now)
    }

    /// Whether macvlan's broadcast queue of the port has room at cycle `now`.
    pub(super) fn queue(&mut self, port: usize, pace: Pace, now: u64) -> bool {
        pace.admits(&mut self.ports[port].queue_due, now)
    }

    /// Whether a storm of that kind on the port is news in second `now_s`.
    pub(super) fn is_news(&mut self, port: usize, traffic: Traffic, now_s: u32) -> bool {
        std::mem::replace(&mut self.ports[port].told[traffic as usize], now_s) != now_s
    }

    /// Whether a loop probe on the port is the first in second `now_s`: a peer that sends ours back again and again
    /// cannot fill control's queue.
    pub(super) fn is_new_loop(&mut self, port: usize, now_s: u32) -> bool {
        std::mem::replace(&mut self.ports[port].loop_told, now_s) != now_s
    }

    /// Forgets the moves of the addresses that are `gone`, and holds them no longer.
    pub(super) fn forget_moves(&mut self, gone: impl Fn(HashedKey) -> bool) {
        for flap in &mut self.flaps {
            if flap.key.is_some_and(&gone) {
                *flap = Flap::CALM;
            }
        }
    }

    /// Counts a move of a station and says whether it may.
    pub(super) fn moves(&mut self, key: HashedKey, guard: &MoveGuard, now_s: u32) -> MoveResult {
        let flap = &mut self.flaps[key.index(FLAPS)];
        if flap.key != Some(key) {
            *flap = Flap { key: Some(key), since: now_s, ..Flap::CALM };
        }
        if flap.held_until > now_s {
            return MoveResult::Held;
        }
        if now_s.saturating_sub(flap.since) >= seconds(guard.window) {
            (flap.since, flap.moves) = (now_s, 0);
        }
        flap.moves += 1;
        if flap.moves <= guard.moves {
            return MoveResult::Allowed;
        }
        *flap = Flap { moves: 0, since: now_s, held_until: now_s.saturating_add(seconds(guard.hold)), ..*flap };
        MoveResult::Exceeded
    }
}

fn seconds(time: std::time::Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eth::MacAddr;
    use crate::switch::fdb::{Fdb, Fid};
    use crate::switch::policy::Action;
    use std::time::Duration;

    fn passed(pace: Pace, due: &mut u64, at: u64, frames: usize) -> usize {
        (0..frames).filter(|_| pace.admits(due, at)).count()
    }

    #[test]
    fn a_rate_lets_a_burst_pass_and_then_its_share_of_time() {
        let hz = lcore::hz();
        let (pace, mut due) = (Pace::new(Rate { per_second: 1000, burst: 10 }, 1), 0);
        assert_eq!(passed(pace, &mut due, hz, 100), 10, "a burst at once");
        assert_eq!(passed(pace, &mut due, hz, 100), 0);
        assert_eq!(passed(pace, &mut due, hz + hz / 200, 100), 5, "5 ms later, 5 more");
        assert_eq!(passed(pace, &mut due, 10 * hz, 100), 10, "what was not used is not saved beyond the burst");
        let over_time: usize = (0..1000).map(|ms| passed(pace, &mut due, 20 * hz + ms * (hz / 1000), 50)).sum();
        assert!((1000..=1011).contains(&over_time), "{over_time} in a second");
    }

    #[test]
    fn a_share_is_a_part_and_nothing_is_nothing() {
        let hz = lcore::hz();
        let (pace, mut due) = (Pace::new(Rate { per_second: 1000, burst: 2 }, 4), 0);
        let over_time: usize = (0..1000).map(|ms| passed(pace, &mut due, hz + ms * (hz / 1000), 5)).sum();
        assert!((249..=252).contains(&over_time), "{over_time} in a second");
        assert_eq!(passed(Pace::new(Rate { per_second: 0, burst: 100 }, 1), &mut 0, hz, 100), 0);
    }

    #[test]
    fn kinds_and_ports_have_their_own_rates() {
        let mut guards = Guards::new();
        let storm = Storm { broadcast: Some(Rate { per_second: 1, burst: 2 }), ..Storm::default() };
        let paces = Paces::new(&storm, 1);
        let mut pass = |port, traffic| (0..5).filter(|_| guards.calm(port, &paces, traffic, 1 << 40)).count();
        assert_eq!((pass(1, Traffic::Broadcast), pass(2, Traffic::Broadcast)), (2, 2));
        assert_eq!((pass(1, Traffic::Multicast), pass(1, Traffic::UnknownUnicast)), (5, 5));
        assert!(guards.is_news(1, Traffic::Broadcast, 7) && !guards.is_news(1, Traffic::Broadcast, 7));
        assert!(guards.is_news(1, Traffic::Broadcast, 8) && guards.is_news(1, Traffic::Multicast, 7));
    }

    /// A burst of an hour's worth has been sent; then the rate is changed, or the port removed.
    #[test]
    fn a_changed_rate_holds_at_once() {
        let hz = lcore::hz();
        let paces = |per_second, burst| {
            Paces::new(&Storm { broadcast: Some(Rate { per_second, burst }), ..Storm::default() }, 1)
        };
        let (slow, quick) = (paces(1, 3600), paces(1000, 10));
        let mut guards = Guards::new();
        let pass = |guards: &mut Guards, paces, now| {
            (0..4000).filter(|_| guards.calm(1, paces, Traffic::Broadcast, now)).count()
        };
        assert_eq!(pass(&mut guards, &slow, hz), 3600);
        guards.repace(1, &quick, hz);
        assert_eq!(pass(&mut guards, &quick, hz), 0, "the burst is spent");
        assert_eq!(pass(&mut guards, &quick, 2 * hz), 10, "a second later there is another");
        assert_eq!(pass(&mut guards, &slow, 2 * hz), 3599, "what was put off is not forgotten by a change");
        guards.forget(1);
        assert_eq!(pass(&mut guards, &slow, 2 * hz), 3600);
    }

    #[test]
    fn an_address_that_moves_too_often_is_held_for_a_while() {
        let second = Duration::from_secs(1);
        let guard = MoveGuard { moves: 3, window: 5 * second, hold: 10 * second, act: Action::Drop };
        let (mut guards, fdb) = (Guards::new(), Fdb::new(100));
        let key = |n: u64| fdb.hash(Fid::new(0).unwrap(), MacAddr::from_u64(n));
        let mut at = |now| guards.moves(key(1), &guard, now);
        assert_eq!([at(1), at(2), at(3)], [MoveResult::Allowed; 3]);
        assert_eq!([at(4), at(4), at(13)], [MoveResult::Exceeded, MoveResult::Held, MoveResult::Held]);
        assert_eq!([at(14), at(20), at(26), at(32)], [MoveResult::Allowed; 4], "slowly it may move for ever");
        assert_eq!(guards.moves(key(2), &guard, 4), MoveResult::Allowed, "another station");
    }
}
