//! What a front end says: messages and file descriptors on a socket, to the session as the daemon runs it
//! (`control::live::vhost::exercise`). Whatever it says: no panic, the connection ends, no ring and no descriptor is left.
//!
//! The conversations of the corpus that are named after a program are recordings of it (QEMU 7.2, testpmd of DPDK
//! 22.11), with the front end's addresses moved to 0x10000000; the others break off, lie or mix what may not be mixed.

#![no_main]

use control::live::vhost::exercise::Stage;
use libfuzzer_sys::fuzz_target;
use std::sync::{Mutex, PoisonError};

static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

fuzz_target!(|data: &[u8]| {
    let mut stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    stage.get_or_insert_with(Stage::new).play(data);
});
