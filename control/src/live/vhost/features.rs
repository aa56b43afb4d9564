//! Feature bits: what is offered, what follows from what was agreed on, their names.

use dataplane::offload::{Features, vnet};
use dataplane::pmd::vhost::RingFeatures;
use vhost::vhost_user::VhostUserProtocolFeatures;

/// Protocol features may be negotiated (vhost-user, "VHOST_USER_F_PROTOCOL_FEATURES").
pub const PROTOCOL_FEATURES: u64 = 1 << 30;
/// Events by index (virtio 1.2 §2.7.10).
pub const EVENT_IDX: u64 = 1 << 29;
/// Indirect descriptors (§2.7.5.3).
pub const INDIRECT_DESC: u64 = 1 << 28;
/// Packed rings (§2.8).
pub const RING_PACKED: u64 = 1 << 34;
/// What is written to the guest is logged (vhost-user, "Migration").
pub const LOG_ALL: u64 = 1 << 26;
const VERSION_1: u64 = 1 << 32;
const MRG_RXBUF: u64 = 1 << 15;
const GUEST_CSUM: u64 = 1 << 1;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const GUEST_USO4: u64 = 1 << 54;
const GUEST_USO6: u64 = 1 << 55;

/// All that a guest may take, with the names of the specification (virtio 1.2 §5.1.3, §6).
const TABLE: [(u64, &str); 26] = [
    (1 << 0, "csum"),
    (GUEST_CSUM, "guest_csum"),
    (1 << 3, "mtu"),
    (GUEST_TSO4, "guest_tso4"),
    (GUEST_TSO6, "guest_tso6"),
    (GUEST_ECN, "guest_ecn"),
    (1 << 11, "host_tso4"),
    (1 << 12, "host_tso6"),
    (1 << 13, "host_ecn"),
    (MRG_RXBUF, "mrg_rxbuf"),
    (1 << 16, "status"),
    (1 << 17, "ctrl_vq"),
    (1 << 18, "ctrl_rx"),
    (1 << 21, "guest_announce"),
    (1 << 22, "mq"),
    (LOG_ALL, "log_all"),
    (1 << 27, "any_layout"),
    (INDIRECT_DESC, "indirect_desc"),
    (EVENT_IDX, "event_idx"),
    (PROTOCOL_FEATURES, "protocol_features"),
    (VERSION_1, "version_1"),
    (RING_PACKED, "ring_packed"),
    (1 << 35, "in_order"),
    (GUEST_USO4, "guest_uso4"),
    (GUEST_USO6, "guest_uso6"),
    (1 << 56, "host_uso"),
];

/// Everything in the table: control queue, status and announcement are the front end's own work, which it does only if
/// it is offered.
#[must_use]
pub fn offered() -> u64 {
    TABLE.iter().map(|(bit, _)| bit).sum()
}

/// Of the protocol.
#[must_use]
pub fn protocol() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::LOG_SHMFD
        | VhostUserProtocolFeatures::RARP
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::MTU
        | VhostUserProtocolFeatures::RESET_DEVICE
        | VhostUserProtocolFeatures::STATUS
}

/// What holds for frames once `acked` was agreed on.
#[must_use]
pub fn ring_features(acked: u64) -> RingFeatures {
    let has = |bits: u64| acked & bits == bits;
    RingFeatures {
        header: if acked & (MRG_RXBUF | VERSION_1) == 0 { vnet::LEN - 2 } else { vnet::LEN },
        mergeable: has(MRG_RXBUF),
        offload: Features {
            csum: has(GUEST_CSUM),
            tso4: has(GUEST_TSO4),
            tso6: has(GUEST_TSO6),
            ecn: has(GUEST_ECN),
            uso: has(GUEST_USO4 | GUEST_USO6),
        },
    }
}

/// The names of the bits that are set.
#[must_use]
pub fn names(bits: u64) -> Vec<&'static str> {
    TABLE.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// The same for the protocol's.
#[must_use]
pub fn protocol_names(bits: u64) -> Vec<&'static str> {
    let table = [
        (VhostUserProtocolFeatures::MQ, "mq"),
        (VhostUserProtocolFeatures::LOG_SHMFD, "log_shmfd"),
        (VhostUserProtocolFeatures::RARP, "rarp"),
        (VhostUserProtocolFeatures::REPLY_ACK, "reply_ack"),
        (VhostUserProtocolFeatures::MTU, "mtu"),
        (VhostUserProtocolFeatures::RESET_DEVICE, "reset_device"),
        (VhostUserProtocolFeatures::STATUS, "status"),
    ];
    table.iter().filter(|(bit, _)| bits & bit.bits() != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_one_name() {
        let all = names(offered());
        assert_eq!(all.len(), TABLE.len());
        assert_eq!(offered().count_ones() as usize, TABLE.len());
        assert_eq!(protocol_names(protocol().bits()).len(), protocol().bits().count_ones() as usize);
    }

    #[test]
    fn the_header_is_short_only_for_legacy_guests_without_merging() {
        assert_eq!(ring_features(0).header, 10);
        assert_eq!(ring_features(MRG_RXBUF).header, 12);
        assert_eq!(ring_features(VERSION_1).header, 12);
        assert!(!ring_features(VERSION_1).mergeable);
    }

    #[test]
    fn segmentation_of_udp_takes_both_bits() {
        assert!(!ring_features(GUEST_USO4).offload.uso);
        assert!(ring_features(GUEST_USO4 | GUEST_USO6).offload.uso);
    }
}
