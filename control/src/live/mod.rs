//! What runs: the switch with its ports, its namespaces, its guests, and the journal of all that it made.

pub mod journal;
pub mod ports;
pub mod switch;
pub mod vhost;
