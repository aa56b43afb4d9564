//! The programs in `bpf/`, as libbpf-cargo generates them.
#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::ptr_as_ptr,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    reason = "generated"
)]

pub(crate) mod arrive {
    include!(concat!(env!("OUT_DIR"), "/arrive.skel.rs"));
}

pub(crate) mod calls {
    include!(concat!(env!("OUT_DIR"), "/calls.skel.rs"));
}

pub(crate) mod live {
    include!(concat!(env!("OUT_DIR"), "/live.skel.rs"));
}
