//! What we ask the kernel for: interfaces and namespaces, news of them, and what machine this is. Knows nothing of ports.

pub mod caps;
pub mod limits;
pub mod machine;
pub mod monitor;
pub mod netlink;
pub mod netns;
#[cfg(test)]
pub(crate) mod privileged;
