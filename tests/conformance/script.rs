//! The language of the scenarios, one thing per line:
//!
//! ```text
//! == name: what it shows
//! bridge p1 p2(isolated) p3          a bridge and its ports; or: macvlan a(private) b(source m1), `wire` and `host` come along
//! p1: m1 > all => p2 p3              a frame into p1, from m1 to broadcast, must come out of p2 and p3
//! p1: m1 > p9 c10.3 => p2[] -        tags outermost first (c 802.1Q, s 802.1ad, o another TPID), `.3` the priority;
//!                                    [..] the tags it comes out with, if not those it went in with
//! do set p1 isolated on              a change
//! ```
//!
//! Addresses: `m1` to `m99` are stations; the name of a macvlan port, or `host`, is that port's own; `all`, `group`,
//! `group6`, `stp` and the like are below; anything with colons is itself.

use std::fmt;

/// A VLAN tag: TPID and the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    pub tpid: u16,
    pub tci: u16,
}

const TPIDS: [(char, u16); 3] = [('c', 0x8100), ('s', 0x88a8), ('o', 0x9100)];

impl Tag {
    fn parse(text: &str) -> Option<Self> {
        let (letter, rest) = text.split_at_checked(1)?;
        let (_, tpid) = TPIDS.iter().find(|(c, _)| letter.starts_with(*c))?;
        let (vid, priority) = rest.split_once('.').unwrap_or((rest, "0"));
        Some(Self { tpid: *tpid, tci: vid.parse::<u16>().ok()? | priority.parse::<u16>().ok()? << 13 })
    }

    /// As in a frame.
    pub fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.tci.to_be_bytes());
        [a, b, c, d]
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TPIDS.iter().find(|(_, tpid)| *tpid == self.tpid) {
            Some((letter, _)) => write!(f, "{letter}{}", self.tci & 0xfff)?,
            None => write!(f, "{:04x}:{}", self.tpid, self.tci & 0xfff)?,
        }
        if self.tci >> 12 > 0 { write!(f, ".{}", self.tci >> 13) } else { Ok(()) }
    }
}

/// One frame that came out: where, and with which tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    pub port: String,
    pub tags: Vec<Tag>,
}

/// Everything that came out for one frame that went in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome(pub Vec<Copy>);

impl Outcome {
    /// Reads `p1 p2[c10]` or `-`; `sent` are the tags the frame went in with.
    pub fn parse(text: &str, sent: &[Tag]) -> Self {
        let mut copies = Vec::new();
        for word in words(text).iter().filter(|word| *word != "-") {
            let (port, tags) = match word.split_once('[') {
                Some((port, tags)) => (port, all_tags(tags.trim_end_matches(']'))),
                None => (word.as_str(), sent.to_vec()),
            };
            copies.push(Copy { port: port.to_owned(), tags });
        }
        Self::new(copies)
    }

    /// In a fixed order.
    pub fn new(mut copies: Vec<Copy>) -> Self {
        copies.sort();
        Self(copies)
    }

    /// As one would write it; `sent` are the tags the frame went in with.
    pub fn text(&self, sent: &[Tag]) -> String {
        let one = |copy: &Copy| {
            let tags: Vec<_> = copy.tags.iter().map(ToString::to_string).collect();
            if copy.tags == sent { copy.port.clone() } else { format!("{}[{}]", copy.port, tags.join(" ")) }
        };
        if self.0.is_empty() { "-".to_owned() } else { self.0.iter().map(one).collect::<Vec<_>>().join(" ") }
    }
}

fn all_tags(text: &str) -> Vec<Tag> {
    text.split_whitespace().map(|tag| Tag::parse(tag).unwrap_or_else(|| panic!("`{tag}` is no tag"))).collect()
}

/// Splits at blanks, but not inside of brackets.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            _ => {}
        }
        match words.last_mut() {
            Some(word) if !(c.is_whitespace() && depth == 0) => word.push(c),
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A frame that goes in.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The line, left of `=>`.
    pub text: String,
    pub port: String,
    pub src: [u8; 6],
    pub dst: [u8; 6],
    pub tags: Vec<Tag>,
    pub ethertype: u16,
    pub expected: Outcome,
}

/// One line of a scenario.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Sent),
    Do(Vec<String>),
}

/// What joins the ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bridge,
    Macvlan,
}

/// A port, and the words in its brackets.
#[derive(Debug, Clone)]
pub struct Port {
    pub name: String,
    pub options: Vec<String>,
    pub mac: [u8; 6],
}

impl Port {
    /// Whether the word is there.
    pub fn has(&self, word: &str) -> bool {
        self.options.iter().any(|option| option == word)
    }

    /// The word behind this one.
    pub fn after(&self, word: &str) -> Option<&str> {
        let at = self.options.iter().position(|option| option == word)?;
        self.options.get(at + 1).map(String::as_str)
    }
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    pub kind: Kind,
    /// Words in the brackets of `bridge(...)` or `macvlan(...)`.
    pub options: Vec<String>,
    pub ports: Vec<Port>,
    pub steps: Vec<Step>,
}

impl Scenario {
    /// The frames that go in.
    pub fn frames(&self) -> impl Iterator<Item = &Sent> {
        self.steps.iter().filter_map(|step| match step {
            Step::Send(sent) => Some(sent),
            Step::Do(_) => None,
        })
    }
}

/// Addresses with names.
const GROUPS: [(&str, [u8; 6]); 10] = [
    ("all", [0xff; 6]),
    ("group", [0x01, 0, 0x5e, 1, 2, 3]),
    ("group6", [0x33, 0x33, 0, 1, 0, 2]),
    ("stp", [0x01, 0x80, 0xc2, 0, 0, 0]),
    ("pause", [0x01, 0x80, 0xc2, 0, 0, 1]),
    ("lacp", [0x01, 0x80, 0xc2, 0, 0, 2]),
    ("eapol", [0x01, 0x80, 0xc2, 0, 0, 3]),
    ("lldp", [0x01, 0x80, 0xc2, 0, 0, 0x0e]),
    ("cdp", [0x01, 0, 0x0c, 0xcc, 0xcc, 0xcc]),
    ("zero", [0; 6]),
];
/// The address of the lower device of a macvlan.
pub const HOST: [u8; 6] = [0x02, 0, 0, 0, 0xee, 0];

/// What a name of an address means; the ports' own come first.
pub fn address(word: &str, ports: &[Port]) -> [u8; 6] {
    if let Some(port) = ports.iter().find(|port| port.name == word) {
        return port.mac;
    }
    if word == "host" {
        return HOST;
    }
    if let Some((_, mac)) = GROUPS.iter().find(|(name, _)| *name == word) {
        return *mac;
    }
    let octets: Vec<u8> = word.split(':').filter_map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    let station = word.strip_prefix('m').and_then(|n| n.parse().ok()).map(|n| [0x02, 0, 0, 0, 0x11, n]);
    let mac = octets.try_into().ok().or(station);
    mac.unwrap_or_else(|| panic!("`{word}` is no address"))
}

/// A MAC address as commands take it.
pub fn colons(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Reads a file of scenarios.
pub fn parse(text: &str) -> Vec<Scenario> {
    let mut all: Vec<Scenario> = Vec::new();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    for line in lines.filter(|line| !line.is_empty()) {
        if let Some(head) = line.strip_prefix("== ") {
            let name = head.split(':').next().unwrap_or_default().to_owned();
            assert!(all.iter().all(|other| other.name != name), "scenario `{name}` is here twice");
            all.push(Scenario { name, kind: Kind::Bridge, options: Vec::new(), ports: Vec::new(), steps: Vec::new() });
            continue;
        }
        let scenario = all.last_mut().expect("a scenario begins with ==");
        read(scenario, line);
    }
    all
}

fn read(scenario: &mut Scenario, line: &str) {
    if let Some(change) = line.strip_prefix("do ") {
        scenario.steps.push(Step::Do(words(change)));
    } else if line.contains("=>") {
        let sent = sent(line, &scenario.ports);
        scenario.steps.push(Step::Send(sent));
    } else {
        topology(scenario, line);
    }
}

/// A word with brackets behind it, and what they hold.
fn bracketed(word: &str) -> (String, Vec<String>) {
    let (name, inside) = word.split_once('(').unwrap_or((word, ""));
    (name.to_owned(), inside.trim_end_matches(')').split_whitespace().map(str::to_owned).collect())
}

fn topology(scenario: &mut Scenario, line: &str) {
    let mut parts = words(line).into_iter().map(|word| bracketed(&word));
    let (kind, options) = parts.next().expect("a topology");
    scenario.kind = match kind.as_str() {
        "bridge" => Kind::Bridge,
        "macvlan" => Kind::Macvlan,
        other => panic!("`{other}` in {line}"),
    };
    scenario.options = options;
    scenario.ports = (1..).zip(parts).map(|(n, (name, options))| own_address(name, options, n)).collect();
}

/// A passthru port has the address of the lower device.
fn own_address(name: String, options: Vec<String>, n: u8) -> Port {
    let mac = if options.iter().any(|o| o == "passthru") { HOST } else { [0x02, 0, 0, 0, 0xcc, n] };
    Port { name, options, mac }
}

fn sent(line: &str, ports: &[Port]) -> Sent {
    let (left, right) = line.split_once("=>").expect("an arrow");
    let (port, frame) = left.split_once(':').unwrap_or_else(|| panic!("no port in {line}"));
    let words = words(frame);
    let [src, _, dst, rest @ ..] = words.as_slice() else { panic!("no frame in {line}") };
    let (types, tags): (Vec<&String>, Vec<&String>) = rest.iter().partition(|word| word.starts_with("type="));
    let tags: Vec<Tag> = all_tags(&tags.into_iter().map(String::as_str).collect::<Vec<_>>().join(" "));
    let ethertype = types.first().map(|word| u16::from_str_radix(&word["type=".len()..], 16).expect("an EtherType"));
    Sent {
        text: left.split_whitespace().collect::<Vec<_>>().join(" "),
        port: port.to_owned(),
        src: address(src, ports),
        dst: address(dst, ports),
        expected: Outcome::parse(right, &tags),
        tags,
        ethertype: ethertype.unwrap_or(u16::from_be_bytes(crate::common::ETHERTYPE)),
    }
}

#[test]
fn a_line_becomes_a_frame() {
    let all = parse(
        "== x: a test\nbridge p1 p2(isolated pvid 10)\np1: m1 > all s5 c10.3 => p2[c10.3] p1 -\ndo set p1 x on\n",
    );
    let sent = all[0].frames().next().unwrap();
    assert_eq!((sent.text.as_str(), sent.tags.len(), sent.dst), ("p1: m1 > all s5 c10.3", 2, [0xff; 6]));
    assert_eq!(sent.expected.text(&sent.tags), "p1 p2[c10.3]");
    assert_eq!((all[0].ports[1].after("pvid"), all[0].ports[1].has("isolated")), (Some("10"), true));
    assert_eq!(Tag::parse("c10.3").unwrap().bytes(), [0x81, 0, 0x60, 10]);
}
