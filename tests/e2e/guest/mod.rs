//! vhost-user ports with guests of all kinds: DPDK's virtio-user, virtual machines, and a front end of our own that keeps
//! to nothing.

mod frontend;
mod hostile;
mod jumbo;
mod machine;
mod migration;
mod testpmd;
mod vm;
