//! Sockets on a real veth, in a network namespace of their own. Needs root; see `lab::in_netns`.

mod lab;

use af_xdp::{Desc, Mode, OPTION_CONTD, OPTION_TX_METADATA, SocketConfig, Step, Wakeup, tx_metadata};
use lab::memory::{CHUNK, Port};
use lab::program::Program;
use lab::{Tapped, frame, in_netns, ip, veth, wait_for};
use std::os::fd::AsFd;
use std::time::Duration;

fn open(ifindex: u32) -> Port {
    Port::open(&SocketConfig::new(ifindex, 0)).expect("a socket on the veth")
}

/// Chunks from 256 on are never on the fill ring: free to transmit from. `slot` counts from there.
fn write_frame(port: &mut Port, slot: u64, bytes: &[u8]) -> Desc {
    let addr = (256 + slot) * CHUNK as u64 + 256;
    port.memory.frame(addr, bytes.len()).copy_from_slice(bytes);
    Desc { addr, len: u32::try_from(bytes.len()).unwrap(), options: 0 }
}

fn transmit(port: &mut Port, descs: &[Desc]) {
    let n = u32::try_from(descs.len()).unwrap();
    assert_eq!(port.queue.tx.reserve(n), n);
    (0..n).zip(descs).for_each(|(i, desc)| port.queue.tx.write(i, *desc));
    port.queue.tx.submit(n);
    while port.queue.tx.backlog() > 0 {
        let wakeup = port.queue.socket.wakeup_tx();
        assert!(matches!(wakeup, Wakeup::Done | Wakeup::Again), "{wakeup:?}");
    }
}

/// One turn of an echo: what was received is transmitted, what was transmitted is filled again.
fn echo(port: &mut Port) {
    let queue = &mut port.queue;
    let n = queue.tx.reserve(queue.rx.peek(32));
    (0..n).for_each(|i| queue.tx.write(i, queue.rx.read(i)));
    queue.tx.submit(n);
    queue.rx.release(n);
    if queue.tx.backlog() > 0 && queue.tx.needs_wakeup() {
        queue.socket.wakeup_tx();
    }
    let n = queue.fill.reserve(queue.completion.peek(32));
    (0..n).for_each(|i| queue.fill.write(i, queue.completion.read(i)));
    queue.fill.submit(n);
    queue.completion.release(n);
}

/// More rounds than there are chunks, so that every chunk goes round; lengths of one descriptor and of several.
#[test]
fn frames_are_echoed_through_all_four_rings() {
    in_netns(|| {
        let ours = veth();
        let program = Program::attach(ours, 1).expect("a native program");
        let mut port = open(ours);
        program.insert(0, port.queue.socket.as_fd()).expect("the socket goes into the map");
        let mut theirs = Tapped::on("theirs");
        for round in 0..200 {
            let number = u8::try_from(round).unwrap();
            let sent = frame(number, [60, 1514, 1792, 1793, 5000, 9000][round % 6]);
            theirs.send(&sent);
            let (_, echoed) = wait_for("the echo", || {
                echo(&mut port);
                theirs.receive()
            });
            assert!(echoed == sent, "frame {number} comes back as it was");
        }
        let stats = port.queue.socket.statistics().unwrap();
        assert_eq!((stats.rx_dropped, stats.rx_invalid_descs, stats.tx_invalid_descs), (0, 0, 0));
        assert_eq!((stats.rx_ring_full, stats.rx_fill_ring_empty_descs), (0, 0));
    });
}

#[test]
fn a_checksum_request_reaches_the_receiver_as_one() {
    in_netns(|| {
        let mut port = open(veth());
        let mut theirs = Tapped::on("theirs");
        let mut desc = write_frame(&mut port, 0, &frame(1, 100));
        let below = port.memory.frame(desc.addr - tx_metadata::LEN as u64, tx_metadata::LEN);
        tx_metadata::write_checksum_request(below.try_into().unwrap(), 34, 16);
        desc.options = OPTION_TX_METADATA;
        transmit(&mut port, &[desc]);
        let (header, data) = wait_for("the frame", || theirs.receive());
        assert_eq!(data, frame(1, 100));
        let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        // VIRTIO_NET_HDR_F_NEEDS_CSUM
        assert_eq!((header[0] & 1, field(6), field(8)), (1, 34, 16));
    });
}

/// The kernel leaves such a frame at the head of the ring: nothing passes it until the request is put right.
#[test]
fn a_checksum_request_outside_the_frame_blocks_the_ring() {
    in_netns(|| {
        let mut port = open(veth());
        let mut theirs = Tapped::on("theirs");
        let mut desc = write_frame(&mut port, 0, &frame(1, 100));
        let request = |port: &mut Port, csum_start| {
            let below = port.memory.frame(desc.addr - tx_metadata::LEN as u64, tx_metadata::LEN);
            tx_metadata::write_checksum_request(below.try_into().unwrap(), csum_start, 16);
        };
        request(&mut port, 83);
        desc.options = OPTION_TX_METADATA;
        port.queue.tx.reserve(1);
        port.queue.tx.write(0, desc);
        port.queue.tx.submit(1);
        for _ in 0..3 {
            assert_eq!(port.queue.socket.wakeup_tx(), Wakeup::Refused(libc::EINVAL));
            assert_eq!(port.queue.tx.backlog(), 1);
        }
        request(&mut port, 82);
        assert_eq!(port.queue.socket.wakeup_tx(), Wakeup::Done);
        wait_for("the frame", || theirs.receive());
    });
}

/// Bad descriptors are skipped and counted; the frames after them go out. With TX metadata registered its room must be
/// there below every descriptor, in the same chunk, whether or not it has a request.
#[test]
fn descriptors_that_make_no_sense_are_skipped_and_counted() {
    in_netns(|| {
        let mut port = open(veth());
        let mut theirs = Tapped::on("theirs");
        let good = write_frame(&mut port, 0, &frame(1, 100));
        let chunk = good.addr / CHUNK as u64 * CHUNK as u64;
        let room = tx_metadata::LEN as u64;
        let outside = Desc { addr: port.memory.chunks() * CHUNK as u64 + room, ..good };
        let empty = Desc { len: 0, ..good };
        let no_room = Desc { addr: chunk + room - 1, ..good };
        let unknown_option = Desc { options: 1 << 7, ..good };
        let just_room = Desc { addr: chunk + room, ..good };
        transmit(&mut port, &[outside, empty, no_room, unknown_option, just_room, good]);
        assert_eq!(port.queue.socket.statistics().unwrap().tx_invalid_descs, 4);
        wait_for("the frame with just enough room", || theirs.receive());
        let (_, data) = wait_for("the good frame", || theirs.receive());
        assert_eq!(data, frame(1, 100));
        // Linux 6.18.44 completes all six; what was skipped need not be completed elsewhere
        wait_for("completions", || (port.queue.completion.peek(8) >= 2).then_some(()));
    });
}

#[test]
fn a_frame_of_several_descriptors_is_transmitted_as_one() {
    in_netns(|| {
        let mut port = open(veth());
        let mut theirs = Tapped::on("theirs");
        let whole = frame(7, 4000);
        let pieces: Vec<&[u8]> = whole.chunks(1500).collect();
        let mut descs: Vec<Desc> =
            (0..).zip(&pieces).map(|(slot, piece)| write_frame(&mut port, slot, piece)).collect();
        descs[0].options |= OPTION_CONTD;
        descs[1].options |= OPTION_CONTD;
        transmit(&mut port, &descs);
        let (_, data) = wait_for("the frame", || theirs.receive());
        assert!(data == whole);
        wait_for("three completions", || (port.queue.completion.peek(8) == 3).then_some(()));
    });
}

/// Since Linux 6.17 one kick takes as many frames as the budget says; before, 32.
#[test]
fn one_kick_takes_the_whole_budget() {
    in_netns(|| {
        let mut port = open(veth());
        let descs: Vec<Desc> = (0..200).map(|i| write_frame(&mut port, i, &frame(0, 60))).collect();
        port.queue.tx.reserve(200);
        (0..200).zip(&descs).for_each(|(i, desc)| port.queue.tx.write(i, *desc));
        port.queue.tx.submit(200);
        let refused = port.queue.socket.report().iter().any(|line| line.contains("TX budget"));
        let (wakeup, backlog) = (port.queue.socket.wakeup_tx(), port.queue.tx.backlog());
        let expected = if refused { (Wakeup::Again, 168) } else { (Wakeup::Done, 0) };
        assert_eq!((wakeup, backlog), expected);
    });
}

#[test]
fn a_queue_that_is_taken_is_refused_and_free_soon_after_the_close() {
    in_netns(|| {
        let mut config = SocketConfig::new(veth(), 0);
        let first = Port::open(&config).expect("a socket");
        config.bind_wait = Duration::ZERO;
        let error = Port::open(&config).unwrap_err();
        assert_eq!((error.step, error.source.raw_os_error()), (Step::Bind, Some(libc::EBUSY)));
        assert!(error.to_string().contains("another AF_XDP socket holds this queue"), "{error}");
        drop(first);
        config.bind_wait = Duration::from_secs(2);
        Port::open(&config).expect("the queue is free again");
    });
}

#[test]
fn zero_copy_that_is_refused_becomes_copy_with_the_reason() {
    in_netns(|| {
        let mut config = SocketConfig::new(veth(), 0);
        let port = Port::open(&config).expect("a socket in copy mode");
        assert!(!port.queue.socket.zero_copy().unwrap());
        let report = port.queue.socket.report();
        assert!(report.iter().any(|line| line.starts_with("zero-copy refused: Operation not supported")), "{report:?}");
        assert!(port.queue.tx.needs_wakeup(), "copy mode always wants a kick");
        assert_eq!(port.queue.socket.napi_id().unwrap(), 0);
        drop(port);
        config.mode = Mode::ZeroCopy;
        let error = Port::open(&config).unwrap_err();
        assert!(error.to_string().contains("allow copy mode"), "{error}");
    });
}

#[test]
fn an_interface_that_goes_down_or_away_is_told_apart() {
    in_netns(|| {
        let port = open(veth());
        assert_eq!(port.queue.socket.wakeup_tx(), Wakeup::Done);
        ip("link set ours down");
        assert_eq!(port.queue.socket.wakeup_tx(), Wakeup::Down);
        ip("link set ours up");
        assert_eq!(port.queue.socket.wakeup_tx(), Wakeup::Done);
        ip("link del ours");
        assert_eq!(port.queue.socket.wakeup_tx(), Wakeup::Gone);
    });
}

#[test]
fn what_does_not_exist_is_refused_with_the_remedy() {
    in_netns(|| {
        let mut config = SocketConfig::new(0x7fff_fff0, 0);
        let error = Port::open(&config).unwrap_err().to_string();
        assert!(error.contains("no such interface"), "{error}");
        config = SocketConfig::new(veth(), 99);
        let error = Port::open(&config).unwrap_err().to_string();
        assert!(error.contains("queue 99") && error.contains("ethtool -l"), "{error}");
        config.tx_size = 1000;
        let error = Port::open(&config).unwrap_err();
        assert!(error.step == Step::TxRing && error.to_string().contains("power of two"), "{error}");
    });
}
