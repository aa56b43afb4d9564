//! The smallest XDP program for a socket: "this queue's frames to the socket in the map", assembled by hand, so that
//! tests and examples need neither a compiler nor a loader. Sources: Linux `include/uapi/linux/bpf.h`.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;

const MAP_TYPE_XSKMAP: u32 = 17;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const HAS_FRAGS: u32 = 1 << 5;

/// `bpf_attr` of `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// An attached program and its map. Gone on drop.
#[derive(Debug)]
pub struct Program {
    map: OwnedFd,
    _link: OwnedFd,
}

impl Program {
    /// Attaches to `ifindex` in native mode, for `queues` queues.
    pub fn attach(ifindex: u32, queues: u32) -> io::Result<Self> {
        let map = bpf_fd(MAP_CREATE, &[MAP_TYPE_XSKMAP, 4, 4, queues])?;
        let program = load(&map)?;
        let native = 1 << 2;
        let link = bpf_fd(LINK_CREATE, &[number(&program), ifindex, ATTACH_XDP, native])?;
        Ok(Program { map, _link: link })
    }

    /// Sends the frames of `queue` to `socket`.
    pub fn insert(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let value = socket.as_raw_fd();
        let (key, value) = (&raw const queue as u64, &raw const value as u64);
        bpf(MAP_UPDATE_ELEM, &[u64::from(number(&self.map)), key, value, 0]).map(drop)
    }
}

fn load(map: &OwnedFd) -> io::Result<OwnedFd> {
    let insns: [u64; 6] = [
        insn(0x61, 0x12, 16, 0),          // r2 = ctx->rx_queue_index
        insn(0x18, 0x11, 0, number(map)), // r1 = map ...
        insn(0, 0, 0, 0),                 // ... second half of a 16-byte instruction
        insn(0xb7, 0x03, 0, 1),           // r3 = XDP_DROP, if the map has no socket
        insn(0x85, 0, 0, 51),             // r0 = bpf_redirect_map(r1, r2, r3)
        insn(0x95, 0, 0, 0),              // return r0
    ];
    let attr = LoadAttr {
        prog_type: PROG_TYPE_XDP,
        insn_cnt: 6,
        insns: insns.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: HAS_FRAGS,
        prog_name: *b"to_socket\0\0\0\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: ATTACH_XDP,
    };
    bpf_fd(PROG_LOAD, &attr)
}

/// Opcode, registers (source, destination), offset, immediate.
fn insn(code: u8, registers: u8, offset: u16, immediate: u32) -> u64 {
    u64::from(code) | u64::from(registers) << 8 | u64::from(offset) << 16 | u64::from(immediate) << 32
}

fn number(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative")
}

fn bpf<A: ?Sized>(command: libc::c_long, attr: &A) -> io::Result<i32> {
    let address = std::ptr::from_ref(attr).cast::<u8>();
    // SAFETY: `attr` is read as far as its size says; what its pointers lead to lives in the callers' frames.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of_val(attr)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

fn bpf_fd<A: ?Sized>(command: libc::c_long, attr: &A) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the descriptor is new and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
