//! Sends every frame of one netdev queue back where it came from, with the addresses swapped.
//!
//! ```text
//! ip link add left type veth peer name right && ip link set left up && ip link set right up
//! cargo run --example echo left        # as root; ^C ends it
//! ```

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/lab/memory.rs"]
mod memory;
#[path = "../tests/lab/program.rs"]
mod program;

use af_xdp::SocketConfig;
use memory::Port;
use program::Program;
use std::error::Error;
use std::ffi::CString;
use std::os::fd::AsFd;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: echo INTERFACE")?;
    let ifindex = index_of(&name)?;
    let program = Program::attach(ifindex, 1)?;
    let mut port = Port::open(&SocketConfig::new(ifindex, 0))?;
    port.queue.socket.report().iter().for_each(|line| println!("{name}: {line}"));
    program.insert(0, port.queue.socket.as_fd())?;
    println!("{name}: echoing queue 0");
    loop {
        receive(&mut port);
        if port.queue.tx.backlog() > 0 && port.queue.tx.needs_wakeup() {
            port.queue.socket.wakeup_tx();
        }
        refill(&mut port);
    }
}

/// From the RX ring to the TX ring. The frame stays where it is; what does not fit now is looked at again next turn.
fn receive(port: &mut Port) {
    let n = port.queue.rx.peek(32);
    let n = port.queue.tx.reserve(n);
    for i in 0..n {
        let desc = port.queue.rx.read(i);
        let addresses = port.memory.frame(desc.addr, 12);
        let (to, from) = addresses.split_at_mut(6);
        to.swap_with_slice(from);
        port.queue.tx.write(i, desc);
    }
    port.queue.tx.submit(n);
    port.queue.rx.release(n);
}

/// From the completion ring to the fill ring.
fn refill(port: &mut Port) {
    let n = port.queue.completion.peek(32);
    let n = port.queue.fill.reserve(n);
    (0..n).for_each(|i| port.queue.fill.write(i, port.queue.completion.read(i)));
    port.queue.fill.submit(n);
    port.queue.completion.release(n);
}

fn index_of(name: &str) -> Result<u32, Box<dyn Error>> {
    let c_name = CString::new(name)?;
    // SAFETY: a C string.
    match unsafe { libc::if_nametoindex(c_name.as_ptr()) } {
        0 => Err(format!("{name}: {}", std::io::Error::last_os_error()).into()),
        index => Ok(index),
    }
}
