//! The frames of a scenario as bytes: each carries its number, so that what comes out is known for what it was.

use crate::script::{Copy, Sent, Tag};

/// In front of the number.
const MAGIC: [u8; 4] = *b"PLXT";
/// Where the EtherType is in a frame without tags.
const TYPE: usize = 12;
/// TPIDs that are taken for tags when a frame is read.
const TPIDS: [[u8; 2]; 3] = [[0x81, 0], [0x88, 0xa8], [0x91, 0]];

/// The frame, with its number.
pub fn bytes(sent: &Sent, number: u32) -> Vec<u8> {
    let mut frame = [sent.dst, sent.src].concat();
    frame.extend(sent.tags.iter().flat_map(|tag| tag.bytes()));
    frame.extend(sent.ethertype.to_be_bytes());
    frame.extend(MAGIC);
    frame.extend(number.to_be_bytes());
    frame.extend((0..42).map(|i: u8| i.wrapping_mul(37)));
    frame
}

/// A frame that is no scenario's: the number is the highest.
pub fn sentinel(dst: [u8; 6], src: [u8; 6]) -> Vec<u8> {
    let ethertype = u16::from_be_bytes(crate::common::ETHERTYPE);
    let (tags, expected) = (Vec::new(), crate::script::Outcome::default());
    bytes(&Sent { text: String::new(), port: String::new(), src, dst, tags, ethertype, expected }, u32::MAX)
}

/// Number and tags of a frame of ours.
pub fn read(frame: &[u8]) -> Option<(u32, Vec<Tag>)> {
    let (mut at, mut tags) = (TYPE, Vec::new());
    while let Some([a, b, c, d]) = frame.get(at..at + 4).filter(|tag| TPIDS.iter().any(|tpid| tag.starts_with(tpid))) {
        tags.push(Tag { tpid: u16::from_be_bytes([*a, *b]), tci: u16::from_be_bytes([*c, *d]) });
        at += 4;
    }
    let body = frame.get(at + 2..)?.strip_prefix(&MAGIC)?;
    Some((u32::from_be_bytes(body.first_chunk().copied()?), tags))
}

/// What came out of `port` for the frame `number`: the same but for its tags, or it is a fault.
pub fn copy(sent: &Sent, number: u32, port: &str, frame: &[u8]) -> Copy {
    let (_, tags) = read(frame).expect("a frame of ours");
    let same = bytes(&Sent { tags: tags.clone(), ..sent.clone() }, number);
    assert!(frame.starts_with(&same), "{}: {port} got other bytes:\n{frame:02x?}\n{same:02x?}", sent.text);
    Copy { port: port.to_owned(), tags }
}
