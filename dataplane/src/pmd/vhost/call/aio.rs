//! Linux AIO (io_submit(2)), for what it does at the end of a request: it counts up an eventfd (IOCB_FLAG_RESFD) by
//! eventfd_signal, which never waits.
//!
//! The request is a read of no bytes from a file in memory of our own: the kernel has done it when io_submit returns.
//!
//! Invariant N2: a request points to no memory, and the kernel reads the request itself during io_submit only.

#![allow(unsafe_code)]

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Requests under way: one. The kernel makes room for some hundred that are done.
const REQUESTS: libc::c_long = 1;
/// Requests that are done, taken at once when there is no more room.
const DONE: usize = 128;
/// IOCB_CMD_PREAD and IOCB_FLAG_RESFD (linux/aio_abi.h).
const PREAD: u16 = 0;
const RESFD: u32 = 1;

/// `struct iocb` (linux/aio_abi.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Request {
    data: u64,
    /// Key and flags, in an order that depends on the machine's; both 0, and the kernel writes the key.
    key_and_flags: [u32; 2],
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Completion([u64; 4]);

/// A context of the kernel's, and the request that is made again and again.
#[derive(Debug)]
pub(super) struct Aio {
    context: libc::c_ulong,
    request: Request,
    _file: OwnedFd,
}

fn outcome(done: libc::c_long) -> io::Result<libc::c_long> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

/// As in a request.
fn number(fd: BorrowedFd<'_>) -> io::Result<u32> {
    u32::try_from(fd.as_raw_fd()).map_err(io::Error::other)
}

impl Aio {
    /// To count up `eventfd`, which must stay open.
    ///
    /// # Errors
    /// EPERM or ENOSYS where it is not allowed or not built in, EAGAIN beyond fs.aio-max-nr.
    pub(super) fn new(eventfd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = memfd_create(c"call", MFdFlags::MFD_CLOEXEC)?;
        let request = Request {
            opcode: PREAD,
            file: number(std::os::fd::AsFd::as_fd(&file))?,
            flags: RESFD,
            eventfd: number(eventfd)?,
            ..Request::default()
        };
        let mut context: libc::c_ulong = 0;
        // SAFETY: the kernel writes one word, `context`.
        outcome(unsafe { libc::syscall(libc::SYS_io_setup, REQUESTS, &raw mut context) })?;
        Ok(Self { context, request, _file: file })
    }

    /// One more on the counter.
    pub(super) fn signal(&mut self) -> io::Result<()> {
        match self.submit() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.take_done();
                self.submit()
            }
            done => done,
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        let request = &raw mut self.request;
        let one: libc::c_long = 1;
        // SAFETY: N2; a list of one pointer to a request, which is ours alone.
        outcome(unsafe { libc::syscall(libc::SYS_io_submit, self.context, one, &raw const request) }).map(drop)
    }

    /// Takes what is done, without waiting.
    fn take_done(&self) {
        let mut done = [Completion::default(); DONE];
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let (least, most): (libc::c_long, libc::c_long) = (0, DONE as libc::c_long);
        // SAFETY: the kernel writes at most `most` completions, for which there is room, and reads a time.
        unsafe {
            libc::syscall(libc::SYS_io_getevents, self.context, least, most, done.as_mut_ptr(), &raw mut time);
        }
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: a context of ours, which is not used again; nothing is under way in it.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}
