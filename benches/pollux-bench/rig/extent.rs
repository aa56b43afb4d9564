//! How large a subject is: ports and addresses beside its two stations, and its cores.

use super::SWITCH_CORE;
use super::crowd::Crowd;

/// The default: one core, two stations.
#[derive(Clone, Copy, Debug)]
pub struct Extent<'a> {
    /// Ports, addresses and domains beside those of the stations.
    pub among: Option<Crowd>,
    /// Cores of its workers. Its ports have a queue for each.
    pub cores: &'a [usize],
}

impl Default for Extent<'_> {
    fn default() -> Self {
        Self { among: None, cores: &[SWITCH_CORE] }
    }
}

impl Extent<'_> {
    /// The crowd, which may be empty.
    pub fn crowd(&self) -> Crowd {
        self.among.unwrap_or_default()
    }
}
