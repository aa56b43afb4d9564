//! Every system call on a socket, one thin function each.
//!
//! Sources: Linux `net/xdp/xsk.c` (`xsk_setsockopt`, `xsk_getsockopt`, `xsk_bind`, `xsk_sendmsg`), `net/core/sock.c`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// Structs a socket option may carry.
///
/// # Safety
/// Every bit pattern, all zeros included, is a valid value, and there is no padding.
unsafe trait Plain {}
// SAFETY: an integer.
unsafe impl Plain for c_int {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: u64 and u32 fields that fill the struct.
unsafe impl Plain for libc::xdp_umem_reg {}
// SAFETY: u64 fields.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: u64 fields.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: one u32 field.
unsafe impl Plain for libc::xdp_options {}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("option structs are small")
}

/// A new AF_XDP socket.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    check(fd)?;
    // SAFETY: the descriptor is new and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn setsockopt<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let value = ptr::from_ref(value).cast();
    // SAFETY: `value` points to `socklen` bytes, which the kernel only reads.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value, socklen::<T>()) })
}

/// The value and how many bytes of it the kernel wrote; the rest is zero (older kernels know shorter structs).
fn getsockopt<T: Plain>(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<(T, usize)> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = socklen::<T>();
    // SAFETY: `value` has room for the `len` bytes the kernel may write.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) })?;
    // SAFETY: all bytes are initialised (zeroed before), and any bit pattern is valid.
    Ok((unsafe { value.assume_init() }, len as usize))
}

/// `XDP_UMEM_REG`: pins the memory.
pub(crate) fn register_umem(fd: BorrowedFd<'_>, umem: &libc::xdp_umem_reg) -> io::Result<()> {
    setsockopt(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, umem)
}

/// One of the `SOL_XDP` options that carry a number.
pub(crate) fn set_xdp(fd: BorrowedFd<'_>, name: c_int, value: u32) -> io::Result<()> {
    setsockopt(fd, libc::SOL_XDP, name, &value)
}

/// One of the `SOL_SOCKET` options that carry a number.
pub(crate) fn set_socket(fd: BorrowedFd<'_>, name: c_int, value: u32) -> io::Result<()> {
    let value = c_int::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    setsockopt(fd, libc::SOL_SOCKET, name, &value)
}

/// `XDP_MMAP_OFFSETS`. A short answer (no `flags` words, before Linux 5.4) is an error.
pub(crate) fn mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    match getsockopt(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)? {
        (offsets, len) if len == size_of::<libc::xdp_mmap_offsets>() => Ok(offsets),
        _ => Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT)),
    }
}

/// `XDP_STATISTICS`.
pub(crate) fn statistics(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    Ok(getsockopt(fd, libc::SOL_XDP, libc::XDP_STATISTICS)?.0)
}

/// The flags of `XDP_OPTIONS`.
pub(crate) fn options(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let (options, _): (libc::xdp_options, _) = getsockopt(fd, libc::SOL_XDP, libc::XDP_OPTIONS)?;
    Ok(options.flags)
}

/// `SO_INCOMING_NAPI_ID`.
pub(crate) fn napi_id(fd: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(getsockopt(fd, libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID)?.0)
}

/// Binds to one queue of one netdev.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let address = ptr::from_ref(address).cast();
    // SAFETY: `address` points to a whole sockaddr_xdp, which the kernel only reads.
    check(unsafe { libc::bind(fd.as_raw_fd(), address, socklen::<libc::sockaddr_xdp>()) })
}

/// An empty send: the kernel looks at the TX ring. 0, or the errno.
pub(crate) fn kick_tx(fd: BorrowedFd<'_>) -> c_int {
    // SAFETY: no bytes are read from the null buffer of length 0.
    let sent = unsafe { libc::sendto(fd.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 { errno() } else { 0 }
}

/// An empty receive: the kernel looks at the fill ring and polls the device. 0, or the errno.
pub(crate) fn kick_rx(fd: BorrowedFd<'_>) -> c_int {
    let (none, nowhere, no_len) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: no bytes are written to the null buffer of length 0, and no address is requested.
    let got = unsafe { libc::recvfrom(fd.as_raw_fd(), none, 0, libc::MSG_DONTWAIT, nowhere, no_len) };
    if got < 0 { errno() } else { 0 }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
