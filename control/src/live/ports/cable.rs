//! The `ring` kind: patch cables inside the switch. The first end to be opened makes the cable, the second takes the end
//! that waits for it.

use super::{OpenPort, PortBuilder, PortError};
use crate::plan::PortPlan;
use dataplane::mem::{Mempool, MempoolCache};
use dataplane::pmd::ring::{CAPACITY, RingPmd, pair};
use dataplane::port::DomainId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Cables with one end free.
#[derive(Debug, Default)]
pub struct Cables {
    waiting: BTreeMap<String, Loose>,
    made: u64,
}

/// A free end.
#[derive(Debug)]
struct Loose {
    end: RingPmd,
    cable: u64,
    /// The port at the other end.
    other: String,
}

impl Cables {
    fn end_for(&mut self, name: &str, peer: &str) -> std::io::Result<(RingPmd, u64)> {
        if let Some(loose) = self.waiting.remove(name) {
            loose.end.plug();
            return Ok((loose.end, loose.cable));
        }
        let (mine, theirs) = pair(CAPACITY)?;
        theirs.unplug();
        self.made += 1;
        self.waiting.insert(peer.to_owned(), Loose { end: theirs, cable: self.made, other: name.to_owned() });
        Ok((mine, self.made))
    }

    /// The port called `name` is closed: the free end of its cable, if there is one, leads nowhere.
    pub fn discard(&mut self, name: &str, pool: &Arc<Mempool>) {
        let leading_here = |(_, loose): &(&String, &Loose)| loose.other == name;
        if let Some(peer) = self.waiting.iter().find(leading_here).map(|(peer, _)| peer.clone()) {
            let loose = self.waiting.remove(&peer);
            let mut mem = MempoolCache::new(pool);
            loose.into_iter().for_each(|loose| loose.end.close(&mut mem));
        }
    }
}

pub(super) fn open(
    builder: &mut PortBuilder<'_>,
    plan: &PortPlan,
    peer: &str,
    (domain, open): (DomainId, &mut OpenPort),
) -> Result<(), PortError> {
    let made = builder.cables.end_for(&plan.name, peer);
    let (end, cable) = made.map_err(|error| PortError::Io { what: "making a cable".to_owned(), error })?;
    open.cable = Some(cable);
    open.mode = format!("cable to {peer}");
    builder.connect(plan, domain, vec![end.into()], open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::mem::{Arena, ArenaConfig, Burst, Hugepages};
    use dataplane::stats::PortCounters;

    #[test]
    fn a_port_whose_peer_is_not_there_holds_no_frames() {
        let pool = Mempool::new(Arena::new(&ArenaConfig { frames: 64, hugepages: Hugepages::Off }).unwrap());
        let (mut mem, stats, mut cables) = (MempoolCache::new(&pool), PortCounters::default(), Cables::default());
        let (mut a, _) = cables.end_for("a", "b").unwrap();
        let mut send = |mem: &mut MempoolCache| {
            let mut burst: Burst = [mem.alloc_len(60).unwrap()].into_iter().collect();
            a.tx_burst(&mut burst, mem, &stats);
            mem.publish();
            pool.total() - pool.free()
        };
        assert_eq!(send(&mut mem), 0);
        let (b, _) = cables.end_for("b", "a").unwrap();
        assert_eq!(send(&mut mem), 1);
        a.close(&mut mem);
        b.close(&mut mem);
    }
}
