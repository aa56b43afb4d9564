//! Words of the command line with values of their own: what grows in `scale`, and the frame sizes of `rfc2544`.

use ::traffic::Sizes;
use clap::ValueEnum;
use std::fmt;
use std::str::FromStr;

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Axis {
    /// Ports of the switch, all but two of them idle
    Ports,
    /// Length of frames
    Size,
    /// IP flows between two stations
    Flows,
    /// Ports a broadcast goes to
    FanOut,
    /// Addresses in the forwarding table
    Fdb,
    /// Domains of the switch, all but one of them empty
    Domains,
    /// Cores that switch
    Workers,
}

/// Frame lengths of a trial, FCS included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub Sizes);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Sizes::Fixed(size) => write!(f, "{size} B"),
            Sizes::Imix => f.write_str("IMIX"),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            _ if text.eq_ignore_ascii_case("imix") => Ok(Self(Sizes::Imix)),
            Ok(size) if (64..=9018).contains(&size) => Ok(Self(Sizes::Fixed(size))),
            _ => Err("a size is `imix` or a number of bytes from 64 to 9018, FCS included".into()),
        }
    }
}
