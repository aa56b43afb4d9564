//! What is lost outside the switch, by name: before it could read a frame, or after it had sent one. The kernel counts these;
//! they are read when somebody asks, and cost no frame an instruction.
//!
//! A port's account with them: `rx + lost before + copies = tx - lost after + drops`, the losses among the drops.

use super::reason::reasons;

reasons! {
    /// Why a frame was lost outside the switch.
    Loss {
        RxRingFull "rx_ring_full" "receive ring full: the switch was off its core for too long",
        RxNoBuffer "rx_no_buffer" "no empty frame was there to receive into, or it was longer than one",
        XdpNoSocket "xdp_no_socket" "arrived on a queue of the interface that the port has no socket on",
        XdpNoHeadroom "xdp_no_headroom" "the interface left no room in front of the frame",
        DeviceDropped "device_dropped" "dropped by the interface on the way to the switch: its queue was full, or the port down",
        TxInvalid "tx_invalid" "refused by the kernel after it was sent",
        PeerDropped "peer_dropped" "taken by the interface, and dropped by the stack behind it: no room, or no use for it",
    }
}

impl Loss {
    /// Whether the frame was lost before the switch read it, and so is not among those received; the others were sent.
    #[must_use]
    pub const fn is_before(self) -> bool {
        !matches!(self, Self::TxInvalid | Self::PeerDropped)
    }
}

/// A count for each [`Loss`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::COUNT]);

impl Losses {
    /// Counts `n` more.
    pub fn add(&mut self, loss: Loss, n: u64) {
        let sum = &mut self.0[loss as usize];
        *sum = sum.saturating_add(n);
    }

    /// Adds what somebody else counted.
    pub fn merge(&mut self, other: &Self) {
        other.counted().for_each(|(loss, n)| self.add(loss, n));
    }

    /// Those that have occurred, with their counts.
    pub fn counted(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        Loss::ALL.into_iter().zip(self.0).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::DropReason;
    use super::*;

    #[test]
    fn losses_and_drops_have_names_of_their_own() {
        let drops: Vec<_> = DropReason::ALL.into_iter().map(DropReason::name).collect();
        assert!(Loss::ALL.into_iter().all(|loss| !drops.contains(&loss.name())));
    }
}
