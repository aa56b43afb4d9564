//! The XDP programs on real devices, in network namespaces of their own. Without privileges these tests say that they
//! are skipped; with `PRIVILEGED_TESTS=1` that is a failure.

use super::*;
use af_xdp::{Desc, OPTION_CONTD, Queue, SocketConfig, Umem};
use nix::sched::{CloneFlags, unshare};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::ptr::NonNull;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `test` on a thread in a new network namespace, which goes with the thread.
fn in_netns(test: fn()) {
    let outcome = thread::spawn(move || unshare(CloneFlags::CLONE_NEWNET).map(|()| test())).join();
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            assert!(std::env::var_os("PRIVILEGED_TESTS").is_none(), "no network namespace: {why}");
            eprintln!("skipped: no network namespace: {why}");
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Brings an interface up without the host's own IPv6 frames.
fn up(name: &str) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1").expect("IPv6 goes off");
    ip(&format!("link set {name} mtu 9000 up"));
}

/// Waits for `sign`: the kernel acts on a new carrier some time after `up`, and drops what is sent in between.
fn ready(name: &str, sign: &str) {
    wait_for(sign, || {
        let state = ip(&format!("-d link show dev {name}"));
        state.contains("state UP") && state.contains(sign)
    });
}

/// Two ends of a veth, up and silent; the index of ours.
fn veth() -> u32 {
    ip("link add ours type veth peer name theirs");
    up("ours");
    up("theirs");
    ready("theirs", "noqueue");
    ifindex("ours")
}

/// A bridge that forwards from a new interface `source` to `name`. On its way in, the kernel takes a VLAN tag out of the
/// frame; a veth hands it on beside the frame, which is what VLAN offload means.
fn bridge_to(name: &str) {
    ip("link add source type veth peer name inlet");
    ip("link add bridge0 type bridge mcast_snooping 0");
    for port in [name, "inlet"] {
        ip(&format!("link set {port} master bridge0"));
    }
    up("source");
    up("inlet");
    up("bridge0");
    ready("source", "noqueue");
    ready("inlet", "state forwarding");
    ready(name, "state forwarding");
}

fn ifindex(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the interface exists")
}

/// A packet socket to send whole frames by.
fn sender(name: &str) -> File {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
    // SAFETY: the descriptor is new and ours alone.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: a struct of integers.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
    address.sll_ifindex = c_int::try_from(ifindex(name)).unwrap();
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
    // SAFETY: `address` is a whole sockaddr_ll of `len` bytes.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
    File::from(socket)
}

/// A broadcast frame of `len` bytes with a type of no protocol.
fn frame(len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
    frame[..6].fill(0xff);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
    frame
}

fn wait_for(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !met() {
        assert!(Instant::now() < deadline, "{what} did not happen within 5 s");
        thread::yield_now();
    }
}

const CHUNK: usize = 2048;
const CHUNKS: usize = 64;

/// A queue with its memory and all chunks on the fill ring.
struct Port {
    queue: Option<Queue>,
    memory: NonNull<u8>,
}

impl Port {
    fn layout() -> Layout {
        Layout::from_size_align(CHUNK * CHUNKS, 4096).unwrap()
    }

    fn open(ifindex: u32) -> Self {
        // SAFETY: the layout is not empty.
        let memory = NonNull::new(unsafe { alloc_zeroed(Self::layout()) }).expect("memory");
        // SAFETY: freed after the queue is dropped; chunks are only read between their arrival and the next fill.
        let umem = unsafe { Umem::new(memory, CHUNK * CHUNKS, 2048) };
        let mut queue = Queue::open(&SocketConfig::new(ifindex, 0), &umem).expect("a socket on the veth");
        let chunks = u32::try_from(CHUNKS).unwrap();
        assert_eq!(queue.fill.reserve(chunks), chunks);
        (0..chunks).for_each(|i| queue.fill.write(i, u64::from(i) * 2048));
        queue.fill.submit(chunks);
        Port { queue: Some(queue), memory }
    }

    fn queue(&mut self) -> &mut Queue {
        self.queue.as_mut().unwrap()
    }

    fn bytes(&self, addr: u64, len: usize) -> &[u8] {
        let addr = usize::try_from(addr).unwrap();
        assert!(addr + len <= CHUNK * CHUNKS);
        // SAFETY: within the memory; the chunk was received and not filled again.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(addr), len) }
    }

    /// The next frame, and the 8 bytes below it.
    fn receive(&mut self) -> (Vec<u8>, [u8; VLAN_META_LEN]) {
        let mut descs: Vec<Desc> = Vec::new();
        while descs.last().is_none_or(|d| d.options & OPTION_CONTD != 0) {
            wait_for("a frame", || self.queue().rx.peek(1) == 1);
            descs.push(self.queue().rx.read(0));
            self.queue().rx.release(1);
        }
        let below = *self.bytes(descs[0].addr - 8, VLAN_META_LEN).first_chunk().unwrap();
        let data = descs.iter().flat_map(|d| self.bytes(d.addr, usize::try_from(d.len).unwrap()));
        (data.copied().collect(), below)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.queue = None;
        // SAFETY: allocated with this layout, and the queue is gone.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout()) };
    }
}

#[test]
fn only_marked_metadata_is_a_tag() {
    let meta = |tci: u16, tpid: u16, magic: u32| {
        let mut bytes = [0; VLAN_META_LEN];
        bytes[..2].copy_from_slice(&tci.to_ne_bytes());
        bytes[2..4].copy_from_slice(&tpid.to_be_bytes());
        bytes[4..].copy_from_slice(&magic.to_ne_bytes());
        bytes
    };
    let tag = VlanTag { tpid: 0x8100, tci: 0x6005 };
    assert_eq!(parse_vlan_meta(&meta(0x6005, 0x8100, VLAN_META_MAGIC)), Some(tag));
    assert_eq!(parse_vlan_meta(&meta(0x6005, 0x8100, 0)), None);
    assert_eq!(parse_vlan_meta(&meta(0, 0, VLAN_META_MAGIC)), None);
}

#[test]
fn a_program_can_be_sent_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<XdpProgram>();
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let error = XdpProgram::attach(0x7fff_fff0, 1).unwrap_err().to_string();
    assert!(error.contains("2147483632") && error.contains("network namespace"), "{error}");
}

#[test]
fn veth_gets_the_native_program_and_frames_without_a_socket_are_counted() {
    in_netns(|| {
        let program = XdpProgram::attach(veth(), 1).unwrap();
        assert_eq!((program.mode(), program.vlan_meta(), program.report()), ("native", true, &[][..]));
        assert!(ip("link show dev ours").contains("prog/xdp"));
        assert_eq!(program.drop_counters().read().unwrap(), XdpDrops::default());
        let mut theirs = sender("theirs");
        (0..3).for_each(|_| theirs.write_all(&frame(60)).unwrap());
        wait_for("3 drops", || program.drop_counters().read().unwrap() == XdpDrops { map_miss: 3, meta: 0 });
        drop(program);
        assert!(!ip("link show dev ours").contains("xdp"), "the program is gone");
    });
}

#[test]
fn frames_reach_the_socket_with_the_tag_that_was_taken_out() {
    in_netns(|| {
        let ours = veth();
        bridge_to("theirs");
        let (mut theirs, mut tagged) = (sender("theirs"), sender("source"));
        let program = XdpProgram::attach(ours, 1).unwrap();
        let mut port = Port::open(ours);
        program.insert(0, port.queue().socket.as_fd()).unwrap();
        // one descriptor, several, and one again
        for len in [60, 5000, 1500] {
            theirs.write_all(&frame(len)).unwrap();
            let (data, below) = port.receive();
            assert!(data == frame(len), "{len} bytes arrive as they were");
            assert_eq!(below[4..], VLAN_META_MAGIC.to_ne_bytes(), "{len} bytes are marked");
            assert_eq!(parse_vlan_meta(&below), None);
            let mut with_tag = frame(len);
            with_tag.splice(12..12, [0x81, 0x00, 0xa0, 0x05]);
            tagged.write_all(&with_tag).unwrap();
            let (data, below) = port.receive();
            assert!(data == frame(len), "{len} bytes arrive without the tag");
            assert_eq!(parse_vlan_meta(&below), Some(VlanTag { tpid: 0x8100, tci: 0xa005 }));
        }
        assert_eq!(program.drop_counters().read().unwrap(), XdpDrops::default());
        program.remove(0).unwrap();
        program.remove(0).unwrap();
        theirs.write_all(&frame(60)).unwrap();
        wait_for("a drop", || program.drop_counters().read().unwrap().map_miss == 1);
    });
}

#[test]
fn a_device_without_native_mode_gets_the_generic_program_and_the_reasons() {
    in_netns(|| {
        let program = XdpProgram::attach(ifindex("lo"), 1).unwrap();
        assert_eq!((program.mode(), program.vlan_meta()), ("generic", false));
        let [vlan, native] = program.report() else { panic!("two reasons: {:?}", program.report()) };
        assert!(vlan.starts_with("native with VLAN metadata: load: "), "{vlan}");
        assert!(native.starts_with("native: attach: "), "{native}");
    });
}

#[test]
fn a_device_with_another_program_is_refused_with_the_remedy() {
    in_netns(|| {
        let ours = veth();
        let first = XdpProgram::attach(ours, 1).unwrap();
        let error = XdpProgram::attach(ours, 1).unwrap_err();
        assert!(matches!(error, ProgramError::Taken { .. }), "{error}");
        assert!(error.to_string().contains("ip link set dev ours xdp off"), "{error}");
        drop(first);
        XdpProgram::attach(ours, 1).unwrap();
    });
}

#[test]
fn a_queue_beyond_the_map_and_a_socket_of_another_kind_are_refused() {
    in_netns(|| {
        let ours = veth();
        let program = XdpProgram::attach(ours, 1).unwrap();
        let mut port = Port::open(ours);
        let error = program.insert(1, port.queue().socket.as_fd()).unwrap_err().to_string();
        assert!(error.contains("queue 1") && error.contains("ours"), "{error}");
        assert!(program.insert(0, sender("theirs").as_fd()).is_err());
        assert!(program.remove(1).is_err());
    });
}
