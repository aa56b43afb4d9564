//! Traffic: a sink, iperf3, ping, a paced sender.

pub mod echo;
pub mod iperf;
pub mod many;
pub mod paced;
pub mod ping;
pub mod sink;
