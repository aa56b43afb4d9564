//! The table of drop reasons. A reason is declared here and nowhere else: one line with its name in the code, its name in
//! `stats -j` and what it means. Its place in the table is the place of its counter. [`Loss`](super::Loss) is made the same
//! way.

/// Makes an enum of a table: its documentation, the list of all its values, their number, names and texts.
macro_rules! reasons {
    ($(#[$doc:meta])* $reasons:ident { $($reason:ident $name:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $reasons {
            $(#[doc = concat!("`", $name, "`: ", $text, ".")] $reason,)+
        }

        impl $reasons {
            /// All of them, in the order of their counters.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$reason),+];

            /// How many there are.
            pub const COUNT: usize = [$($name),+].len();

            /// The name in `stats -j`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$reason => $text,)+
                }
            }
        }
    };
}
pub(super) use reasons;

reasons! {
    /// Why the switch dropped a frame.
    DropReason {
        Runt "runt" "shorter than an Ethernet header",
        Oversize "oversize" "longer than the MTU allows",
        BadSource "bad_source" "source address is multicast or zero",
        BadOffload "bad_offload" "offload header contradicts the frame",
        Truncated "truncated" "cut short on the way in",
        Pause "pause" "802.3 PAUSE is never forwarded",
        SamePort "same_port" "destination is behind the port it came from",
        NoDestination "no_destination" "no other port in the domain",
        NoMbuf "no_mbuf" "pool exhausted",
        CopyRefused "copy_refused" "copy for flooding or a mirror not made: what is left of the pool is kept for receiving",
        TxFull "tx_full" "transmit queue full",
        RingFull "ring_full" "ring to the owning worker full",
        TxError "tx_error" "refused by the kernel",
        PortGone "port_gone" "port removed while the frame was on its way",
        LinkDown "link_down" "port without carrier",
        BadDescriptor "bad_descriptor" "descriptor that names no frame of ours",
        VlanDenied "vlan_denied" "the port is not in the frame's VLAN",
        VlanUntagged "vlan_untagged" "untagged, and the port has no native VLAN",
        VlanEgress "vlan_egress" "the destination's port is not in the VLAN",
        BadTag "bad_tag" "VLAN tag cut short",
        NoHeadroom "no_headroom" "no room in front of the frame for a VLAN tag",
        Isolated "isolated" "both ports are isolated",
        Locked "locked" "source address unknown on a locked port",
        Filtered "filtered" "an address of the frame is filtered",
        ControlProtocol "control_protocol" "layer-2 control protocol that the port does not pass",
        PortDown "port_down" "port administratively down",
        Blocked "blocked" "port blocked because of a loop",
        LoopProbe "loop_probe" "loop probe that came home",
        MirrorPort "mirror_port" "ports that mirrors end at take no frames",
        StormBroadcast "storm_broadcast" "storm control: broadcast",
        StormMulticast "storm_multicast" "storm control: multicast",
        StormUnknown "storm_unknown_unicast" "storm control: unknown unicast",
        MacMove "mac_move" "address held on another port because it moved too often",
        Insecure "insecure" "port security: source address not allowed",
        NoMember "no_member" "no port has asked for the multicast group",
        BadMembership "bad_membership" "malformed IGMP or MLD message",
        NoOwner "no_owner" "no macvlan port owns the address",
        PrivateReflected "private_reflected" "a sibling's frame, sent back by the wire, for a private port",
        SourceOnly "source_only" "taken by source list, and by nobody else",
        BroadcastQueue "broadcast_queue" "more broadcast from the wire than the limit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_reasons_share_a_name_or_a_text() {
        for column in [DropReason::name, DropReason::text] {
            let distinct: BTreeSet<_> = DropReason::ALL.into_iter().map(column).collect();
            assert_eq!(distinct.len(), DropReason::COUNT);
        }
    }
}
