//! Layer-2 control protocols: what bridges keep to themselves and labs want to pass.

use crate::eth::MacAddr;

/// Which of the reserved group addresses pass a port (on the way in; as the kernel's `group_fwd_mask` per port).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlProtocols {
    /// Bit X: 01:80:C2:00:00:0X passes (802.1Q Table 8-1). Bit 1, PAUSE, has no effect: it never passes.
    pub ieee: u16,
    /// 01:00:0C:CC:CC:CC (CDP, VTP, UDLD) and 01:00:0C:CC:CC:CD (PVST+) pass.
    pub cisco: bool,
}

impl ControlProtocols {
    /// Everything but PAUSE passes: the switch is a wire to STP, LACP, LLDP and the rest.
    pub const TRANSPARENT: Self = Self { ieee: !2, cisco: true };
    /// None passes, as 802.1Q §8.6.3 wants of a bridge.
    pub const IEEE: Self = Self { ieee: 0, cisco: false };

    /// Whether frames to `dst` may enter. True for addresses that are not reserved.
    #[must_use]
    pub fn pass(self, dst: MacAddr) -> bool {
        match dst.0 {
            [0x01, 0x80, 0xc2, 0, 0, x @ 0..=0xf] => x != 1 && self.ieee >> x & 1 == 1,
            [0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc | 0xcd] => self.cisco,
            _ => true,
        }
    }
}

impl Default for ControlProtocols {
    fn default() -> Self {
        Self::TRANSPARENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_decides_for_each_reserved_address_and_pause_never_passes() {
        for x in 0..=0xff {
            let dst = MacAddr([0x01, 0x80, 0xc2, 0, 0, x]);
            assert_eq!(ControlProtocols::TRANSPARENT.pass(dst), x != 1, "{dst}");
            assert_eq!(ControlProtocols::IEEE.pass(dst), x > 0xf, "{dst}");
            let lldp = ControlProtocols { ieee: 1 << 0xe | 2, cisco: false };
            assert_eq!(lldp.pass(dst), x > 0xf || x == 0xe, "{dst}");
        }
        for (last, reserved) in [(0xcb, false), (0xcc, true), (0xcd, true), (0xce, false)] {
            let dst = MacAddr([0x01, 0x00, 0x0c, 0xcc, 0xcc, last]);
            assert_eq!(ControlProtocols::IEEE.pass(dst), !reserved, "{dst}");
            assert!(ControlProtocols::TRANSPARENT.pass(dst));
        }
        assert!(ControlProtocols::IEEE.pass(MacAddr::BROADCAST));
    }
}
