//! Filtering ids: which pair of domain and VLAN has which. There are [`Fid::COUNT`], for all domains together.

use crate::port::DomainId;
use crate::switch::fdb::Fid;
use crate::switch::policy::Vid;
use std::collections::BTreeMap;

/// The allocation, both ways.
#[derive(Debug, Default)]
pub(super) struct Fids {
    by_vlan: BTreeMap<(DomainId, Vid), Fid>,
    by_fid: Vec<Option<(DomainId, Vid)>>,
}

impl Fids {
    /// The id of a VLAN of a domain, a new one if it has none; `None` when all are taken.
    pub(super) fn obtain(&mut self, domain: DomainId, vid: Vid) -> Option<Fid> {
        if let Some(fid) = self.get(domain, vid) {
            return Some(fid);
        }
        let index = self.by_fid.iter().position(Option::is_none).unwrap_or(self.by_fid.len());
        let fid = Fid::new(u16::try_from(index).ok()?)?;
        if index == self.by_fid.len() {
            self.by_fid.push(None);
        }
        self.by_fid[index] = Some((domain, vid));
        self.by_vlan.insert((domain, vid), fid);
        Some(fid)
    }

    pub(super) fn get(&self, domain: DomainId, vid: Vid) -> Option<Fid> {
        self.by_vlan.get(&(domain, vid)).copied()
    }

    pub(super) fn owner(&self, fid: Fid) -> Option<(DomainId, Vid)> {
        self.by_fid.get(fid.index()).copied().flatten()
    }

    /// Takes the id from a VLAN. It stays taken until it is [freed](Self::free).
    pub(super) fn retire(&mut self, domain: DomainId, vid: Vid) -> Option<Fid> {
        self.by_vlan.remove(&(domain, vid))
    }

    /// The id may be given away again.
    pub(super) fn free(&mut self, fid: Fid) {
        self.by_fid[fid.index()] = None;
    }

    /// VLANs of a domain with their ids, VLAN 0 among them.
    pub(super) fn of(&self, domain: DomainId) -> impl Iterator<Item = (Vid, Fid)> + '_ {
        self.by_vlan.range((domain, 0)..=(domain, Vid::MAX)).map(|((_, vid), fid)| (*vid, *fid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_bounded_and_used_again() {
        let mut fids = Fids::default();
        let (a, b) = (DomainId(0), DomainId(7));
        for vid in 0..4095 {
            assert!(fids.obtain(a, vid).is_some() && fids.obtain(b, vid).is_some());
        }
        assert_eq!(fids.obtain(a, 5), fids.get(a, 5));
        let (of_a, of_b): (Vec<_>, Vec<_>) = (fids.of(a).collect(), fids.of(b).collect());
        assert!(of_a.iter().all(|(_, fid)| of_b.iter().all(|(_, other)| fid != other)));
        assert!((0..3).all(|vid| fids.obtain(DomainId(8), vid).is_some() == (vid < 2)), "8192 of them");
        let freed = fids.get(b, 9);
        assert_eq!(fids.retire(b, 9), freed);
        assert_eq!((fids.get(b, 9), fids.obtain(DomainId(9), 1)), (None, None), "workers may still use it");
        fids.free(freed.unwrap());
        assert_eq!(fids.obtain(DomainId(9), 1), freed);
        assert_eq!(fids.owner(freed.unwrap()), Some((DomainId(9), 1)));
    }
}
