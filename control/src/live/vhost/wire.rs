//! The socket as bytes. The crate `vhost` reads a message with blocking calls and knows most of them; so a message is
//! handed to it only once all of it is there, and the few it does not know are answered here.

use super::session::Session;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use rustix::io::ioctl_fionread;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use vhost::vhost_user::VhostUserBackendReqHandlerMut;

/// Bytes of a header: request, flags, size of the body, 32 bits each in the machine's order.
const HEADER: usize = 12;
/// Largest body there is (MAX_MSG_SIZE of the crate).
const MOST: usize = 0x1000;
/// Header flags (vhost-user, "Header").
const VERSION_MASK: u32 = 3;
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// Messages that the crate does not know, and one that it takes only after SET_FEATURES: QEMU sends it as soon as it has
/// seen that there are protocol features (vhost_user_set_vring_enable, QEMU hw/virtio/vhost-user.c).
const SET_LOG_FD: u32 = 7;
const SET_VRING_ENABLE: u32 = 18;
const SEND_RARP: u32 = 19;
const NET_SET_MTU: u32 = 20;
const SET_STATUS: u32 = 39;
const GET_STATUS: u32 = 40;
const OURS: [u32; 6] = [SET_LOG_FD, SET_VRING_ENABLE, SEND_RARP, NET_SET_MTU, SET_STATUS, GET_STATUS];

/// What lies in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Nothing.
    Nothing,
    /// The beginning of a message.
    Part,
    /// A whole message that the crate knows.
    Message,
    /// A whole message that is answered here.
    Ours(Ours),
    /// The other side hung up.
    End,
}

/// A message that is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ours {
    request: u32,
    need_reply: bool,
    size: usize,
    value: u64,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_ne_bytes(*word))
}

/// Looks, without taking anything and without waiting.
pub(super) fn look(stream: &UnixStream) -> io::Result<Waiting> {
    let mut bytes = [0; HEADER + MOST];
    let n = match recv(stream.as_raw_fd(), &mut bytes, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(0) => return Ok(Waiting::End),
        Ok(n) => n,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Waiting::Nothing),
        Err(errno) => return Err(errno.into()),
    };
    let there = ioctl_fionread(stream)?;
    judge(&bytes[..n], usize::try_from(there).unwrap_or(usize::MAX))
}

/// What the first bytes are, of `there` that have come.
fn judge(bytes: &[u8], there: usize) -> io::Result<Waiting> {
    if bytes.len() < HEADER {
        return Ok(Waiting::Part);
    }
    let (request, flags) = (word(bytes, 0), word(bytes, 4));
    let size = usize::try_from(word(bytes, 8)).unwrap_or(usize::MAX);
    if flags & VERSION_MASK != VERSION || flags & REPLY != 0 || size > MOST {
        let what = format!("bytes that are no vhost-user message: request {request}, flags {flags:#x}, {size} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let Some(body) = bytes[HEADER..].get(..size) else {
        // one look ends behind file descriptors, and the rest of their message may be there all the same
        let whole = there >= HEADER + size && !OURS.contains(&request);
        return Ok(if whole { Waiting::Message } else { Waiting::Part });
    };
    if !OURS.contains(&request) {
        return Ok(Waiting::Message);
    }
    let value = match (request, body.first_chunk()) {
        (GET_STATUS | SET_LOG_FD, _) => 0,
        (_, Some(bytes)) if size == 8 => u64::from_ne_bytes(*bytes),
        _ => {
            let what = format!("request {request} with a body of {size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    };
    Ok(Waiting::Ours(Ours { request, need_reply: flags & NEED_REPLY != 0, size, value }))
}

/// Takes and answers a message of ours. File descriptors that came with it are closed by the kernel.
pub(super) fn answer(stream: &UnixStream, ours: Ours, session: &mut Session) -> vhost::vhost_user::Result<()> {
    let mut bytes = [0; HEADER + MOST];
    let broken = |errno: Errno| vhost::vhost_user::Error::SocketBroken(errno.into());
    recv(stream.as_raw_fd(), &mut bytes[..HEADER + ours.size], MsgFlags::MSG_DONTWAIT).map_err(broken)?;
    let done = match ours.request {
        SET_VRING_ENABLE => {
            let [index, on] = [0, 4].map(|at| word(&ours.value.to_ne_bytes(), at));
            session.set_vring_enable(index, on != 0)
        }
        // whoever migrates looks at the log anyway: nobody need be told that there is something in it
        SET_LOG_FD => Ok(()),
        SEND_RARP => session.announce(ours.value),
        NET_SET_MTU => session.set_mtu(ours.value),
        SET_STATUS => session.set_status(ours.value),
        _ => return reply(stream, ours.request, session.device_status()).map_err(broken),
    };
    if ours.need_reply && session.acknowledges() {
        reply(stream, ours.request, u64::from(done.is_err())).map_err(broken)?;
    }
    done
}

fn reply(stream: &UnixStream, request: u32, value: u64) -> nix::Result<()> {
    let words = [request, VERSION | REPLY, 8].map(u32::to_ne_bytes);
    let message = [words.as_flattened(), &value.to_ne_bytes()].concat();
    // a front end that lets its socket fill up is told nothing more: EAGAIN ends the connection
    send(stream.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(request: u32, flags: u32, body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len()).expect("a short body");
        [[request, flags, size].map(u32::to_ne_bytes).as_flattened(), body].concat()
    }

    #[test]
    fn a_message_is_handed_on_only_when_all_of_it_is_there() {
        let whole = message(2, 1, &[0; 8]);
        for n in 0..whole.len() {
            assert_eq!(judge(&whole[..n], n).expect("a beginning"), Waiting::Part, "{n} bytes");
        }
        assert_eq!(judge(&whole, whole.len()).expect("a message"), Waiting::Message);
        assert_eq!(judge(&[&whole[..], &[1, 2, 3]].concat(), whole.len() + 3).expect("two"), Waiting::Message);
    }

    #[test]
    fn what_the_crate_does_not_know_is_ours() {
        let Waiting::Ours(ours) = judge(&message(NET_SET_MTU, 9, &1400u64.to_ne_bytes()), 20).expect("a message")
        else {
            panic!("not ours");
        };
        assert_eq!((ours.value, ours.need_reply), (1400, true));
    }

    #[test]
    fn wrong_version_reply_and_length_are_refused() {
        assert!(judge(&message(2, 2, &[]), 12).is_err());
        assert!(judge(&message(2, 5, &[]), 12).is_err());
        assert!(judge(&message(NET_SET_MTU, 1, &[0; 4]), 16).is_err());
        assert!(judge(&[2u32, 1, 0x1001].map(u32::to_ne_bytes).concat(), 12).is_err());
    }

    /// A front end may send a header with its descriptors, and then the body.
    #[test]
    fn a_body_that_comes_apart_from_its_descriptors_is_seen() {
        use nix::sys::socket::{ControlMessage, sendmsg};
        use std::io::{IoSlice, Write};
        let (mut theirs, ours) = UnixStream::pair().expect("a pair");
        let whole = message(2, 1, &[0; 8]);
        let rights = [theirs.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&rights)];
        let head = [IoSlice::new(&whole[..HEADER])];
        sendmsg::<()>(theirs.as_raw_fd(), &head, &rights, MsgFlags::empty(), None).expect("sending");
        assert_eq!(look(&ours).expect("a header"), Waiting::Part);
        theirs.write_all(&whole[HEADER..]).expect("sending");
        assert_eq!(look(&ours).expect("a message"), Waiting::Message);
    }
}
