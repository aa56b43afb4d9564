//! vhost-user ports with guests of all kinds: DPDK's virtio-user, virtual machines, and a front end of our own that keeps
//! to nothing.

mod frontend;
mod greedy;
mod hostile;
mod jumbo;
mod machine;
mod migration;
mod sandbox;
mod socket;
mod testpmd;
mod vm;
