//! NBD sessions without a socket: the handshake and its replies, and a hundred thousand hostile streams.

mod support;

use block::nbd::offer::{Exports, Offer};
use block::nbd::reply::{Answer, Extent, Piece};
use block::nbd::request::Command;
use block::nbd::session::{REQUESTS_MAX, Session, Step};
use hostile::nbd::{FLAGS, good_start, named, option, request, stream};
use hostile::random::Random;
use seam::Errno;

const SIZE: u64 = 1 << 20;

/// Two exports: one may be written, of the other the depth is shown.
struct Two;

fn offer(name: &str, writable: bool) -> Offer {
    Offer {
        name: name.to_owned(),
        description: (!writable).then(|| "read me".to_owned()),
        len_bytes: SIZE,
        writable,
        multi_conn: true,
        allocation_depth: !writable,
        bitmaps: if writable { Vec::new() } else { vec!["b".to_owned()] },
    }
}

impl Exports for Two {
    fn list(&self) -> Vec<Offer> {
        vec![offer("rw", true), offer("ro", false)]
    }

    fn find(&self, name: &str) -> Option<Offer> {
        self.list().into_iter().find(|offer| offer.name == name)
    }

    fn enter(&mut self, name: &str) -> Option<Offer> {
        self.find(name)
    }
}

/// Does every request at once, and gives what was sent. `None` in the end: the session hung up.
fn serve(session: &mut Session) -> (Vec<u8>, bool) {
    let mut sent = Vec::new();
    loop {
        while let Some(piece) = session.take_output() {
            sent.extend(piece);
        }
        match session.next(&mut Two) {
            None => {
                if let Some(piece) = session.take_output() {
                    sent.extend(piece);
                    continue;
                }
                return (sent, true);
            }
            Some(Step::Close) => {
                while let Some(piece) = session.take_output() {
                    sent.extend(piece);
                }
                return (sent, false);
            }
            Some(Step::Do(ticket, request)) => {
                let answer = match request.command {
                    Command::Read { len, sparse: true } if len > 1 => Answer::Pieces(vec![
                        Piece::Hole(len / 2),
                        Piece::Data(vec![7; ticket.headroom + (len - len / 2) as usize]),
                    ]),
                    Command::Read { len, .. } => Answer::Data(vec![7; ticket.headroom + len as usize]),
                    Command::BlockStatus { len, one, .. } => {
                        let whole = Extent { len, allocation: 3, depth: 0 };
                        let last = Extent { len: 1, allocation: 0, depth: 2 };
                        let halves = [Extent { len: len.max(2) - 1, ..whole }, last];
                        Answer::Extents(if one { vec![whole] } else { halves.to_vec() })
                    }
                    Command::Trim { .. } => Answer::Failed(Errno::EIO),
                    _ => Answer::Done,
                };
                session.answer(ticket, answer);
            }
        }
    }
}

const GREETING_BYTES: usize = 18;

/// A session that has got so far, and what it answered.
fn after(input: &[&[u8]]) -> (Session, Vec<u8>, bool) {
    let mut session = Session::new();
    session.receive(&input.concat());
    let (sent, open) = serve(&mut session);
    (session, sent[GREETING_BYTES..].to_vec(), open)
}

/// What stands in a well-formed stream of a server: replies to options, then replies to requests.
#[derive(Debug, Default)]
struct Received {
    option_replies: Vec<(u32, u32, Vec<u8>)>,
    /// Cookie, error, bytes of data; of a structured reply one for each chunk.
    replies: Vec<(u64, u32, usize)>,
}

/// Reads all of what a server sent; panics at the first byte that no client could understand.
fn understand(mut bytes: &[u8], oldest_way_in: bool) -> Received {
    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    }
    let mut received = Received::default();
    let mut names = oldest_way_in;
    while !bytes.is_empty() {
        if bytes.starts_with(&0x0003_e889_0455_65a9_u64.to_be_bytes()) {
            let len = u32_at(bytes, 16) as usize;
            let data = bytes[20..20 + len].to_vec();
            received.option_replies.push((u32_at(bytes, 8), u32_at(bytes, 12), data));
            bytes = &bytes[20 + len..];
        } else if bytes.starts_with(&0x6744_6698_u32.to_be_bytes()) {
            let (error, cookie) = (u32_at(bytes, 4), u64::from_be_bytes(bytes[8..16].try_into().unwrap()));
            bytes = &bytes[16..];
            // Our stand-in reads sevens, and no header begins with one.
            let data = bytes.iter().take_while(|byte| **byte == 7).count();
            received.replies.push((cookie, error, data));
            bytes = &bytes[data..];
        } else if bytes.starts_with(&0x668e_33ef_u32.to_be_bytes()) {
            let kind = u16::from_be_bytes(bytes[6..8].try_into().unwrap());
            assert!(matches!(kind, 0 | 1 | 2 | 5 | 0x8001), "chunk of kind {kind:#x}");
            let cookie = u64::from_be_bytes(bytes[8..16].try_into().unwrap());
            let len = u32_at(bytes, 16) as usize;
            let error = if kind == 0x8001 { u32_at(bytes, 20) } else { 0 };
            received.replies.push((cookie, error, len));
            bytes = &bytes[20 + len..];
        } else {
            assert!(std::mem::take(&mut names), "{:?} is no reply", &bytes[..bytes.len().min(32)]);
            assert_eq!(u64::from_be_bytes(bytes[..8].try_into().unwrap()), SIZE);
            let zeroes = bytes[10..].iter().take_while(|byte| **byte == 0).count().min(124);
            bytes = &bytes[10 + zeroes..];
        }
    }
    received
}

#[test]
fn the_handshake_says_what_an_export_is() {
    let wanted = [&1_u16.to_be_bytes()[..], &1_u16.to_be_bytes()].concat();
    let (_, sent, open) = after(&[&FLAGS, &option(6, &named("ro", &wanted)), &option(3, &[])]);
    assert!(open);
    let received = understand(&sent, false);
    let kinds: Vec<(u32, u32)> =
        received.option_replies.iter().map(|(option, kind, _)| (*option, *kind)).collect();
    assert_eq!(kinds, [(6, 3), (6, 3), (6, 3), (6, 3), (6, 1), (3, 2), (3, 2), (3, 1)]);
    assert_eq!(received.option_replies[0].2, b"\0\x01ro");
    assert_eq!(received.option_replies[1].2, b"\0\x02read me");
    let export = &received.option_replies[3].2;
    // The flags were asked of the real daemon: a read-only export without structured replies.
    assert_eq!((&export[2..10], &export[10..]), (&SIZE.to_be_bytes()[..], &0x050f_u16.to_be_bytes()[..]));
    assert_eq!(received.option_replies[6].2, named("ro", b"read me"));
}

#[test]
fn options_are_refused_and_the_handshake_goes_on() {
    let no_structure = named("rw", &0_u32.to_be_bytes());
    let (session, sent, open) = after(&[
        &FLAGS,
        &option(7, &named("none", &[0, 0])),
        &option(7, b"\0"),
        &option(3, b"x"),
        &option(5, &[]),
        &option(99, &[1, 2, 3]),
        &option(10, &no_structure),
        &option(8, &[]),
        &option(8, &[]),
        &option(7, &vec![0; 100_000]),
    ]);
    assert!(open && session.is_negotiating());
    let error = |number: u32| (1 << 31) | number;
    let kinds: Vec<u32> = understand(&sent, false).option_replies.iter().map(|(_, kind, _)| *kind).collect();
    let expected = [error(6), error(3), error(3), error(2), error(1), error(3), 1, error(3), error(9)];
    assert_eq!(kinds, expected);
}

#[test]
fn contexts_hold_for_the_export_they_were_chosen_for() {
    let query =
        |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
    let queries =
        [&2_u32.to_be_bytes()[..], &query("base:allocation"), &query("qemu:allocation-depth")].concat();
    let chosen = option(10, &named("ro", &queries));
    let status = request(7, 0, 0, 4096, &[]);
    for (name, chunks) in [("ro", 2), ("rw", 1)] {
        let request = option(7, &named(name, &[0, 0]));
        let (_, sent, open) = after(&[&FLAGS, &option(8, &[]), &chosen, &request, &status]);
        assert!(open);
        let received = understand(&sent, false);
        let contexts = received.option_replies.iter().filter(|(_, kind, _)| *kind == 4).count();
        assert_eq!((contexts, received.replies.len()), (2, chunks));
        // Without a context a status is refused.
        assert_eq!(received.replies[0].1, if name == "ro" { 0 } else { 22 });
    }
}

#[test]
fn every_way_in_leads_to_transmission() {
    for (way, zeroes) in [(&[0, 0, 0, 1], 124), (&FLAGS, 0)] {
        let (session, sent, open) = after(&[way, &option(1, b"rw"), &request(0, 0, 0, 512, &[])]);
        assert!(open && !session.is_negotiating());
        assert_eq!(sent.len(), 10 + zeroes + 16 + 512);
    }
    let (_, _, open) = after(&[&FLAGS, &option(1, b"none")]);
    assert!(!open, "the oldest way in knows no refusal but the end");
}

#[test]
fn a_payload_in_small_pieces_is_one_write() {
    let mut session = Session::new();
    let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let write = request(1, 1, 4096, 100_000, &data);
    session.receive(&good_start());
    serve(&mut session);
    let mut written = None;
    for piece in write.chunks(997) {
        session.receive(piece);
        while let Some(step) = session.next(&mut Two) {
            let Step::Do(ticket, request) = step else { panic!("a write") };
            assert_eq!(request.offset, 4096);
            written = Some(request.command);
            session.answer(ticket, Answer::Done);
        }
    }
    assert_eq!(written, Some(Command::Write { data, fua: true }));
}

#[test]
fn only_so_many_requests_run_at_a_time() {
    let mut session = Session::new();
    session.receive(&good_start());
    serve(&mut session);
    session.receive(&request(3, 0, 0, 0, &[]).repeat(2 * REQUESTS_MAX));
    let mut tickets = Vec::new();
    while let Some(Step::Do(ticket, _)) = session.next(&mut Two) {
        tickets.push(ticket);
    }
    assert_eq!((tickets.len(), session.requests()), (REQUESTS_MAX, REQUESTS_MAX));
    assert!(!session.has_room());
    session.answer(tickets.pop().unwrap(), Answer::Done);
    assert!(matches!(session.next(&mut Two), Some(Step::Do(..))));
}

#[test]
fn a_write_that_is_too_long_is_refused_and_ends_the_session() {
    let long = request(1, 0, 0, (32 << 20) + 1, &[]);
    let (_, sent, open) = after(&[&FLAGS, &option(7, &named("rw", &[0, 0])), &long]);
    assert!(!open);
    assert_eq!(understand(&sent, false).replies, [(1 << 32 | 0xbeef, 22, 0)]);
}

// Whatever a client sends, a session answers in the language or hangs up, and holds no more than was sent to it.
#[test]
fn a_hundred_thousand_hostile_streams_get_errors_or_valid_replies() {
    const STREAMS: u64 = 100_000;
    const HELD_BYTES_MAX: u64 = 1 << 20;
    let mut random = Random::new(20_251_122);
    let (mut refused, mut replied, mut hung_up, mut reached) = (0_u64, 0_u64, 0_u64, 0_u64);
    for number in 0..STREAMS {
        let stream = stream(SIZE, &mut random);
        let oldest = stream.windows(12).any(|w| w == b"IHAVEOPT\0\0\0\x01");
        let mut session = Session::new();
        let mut sent = Vec::new();
        let mut open = true;
        for piece in stream.chunks(1 + random.below(256) as usize) {
            session.receive(piece);
            let (more, still_open) = serve(&mut session);
            sent.extend(more);
            open = still_open;
            let held = session.held_bytes();
            assert!(held <= HELD_BYTES_MAX, "stream {number} makes the session hold {held} bytes");
            if !open {
                break;
            }
        }
        if sent.is_empty() {
            // An empty stream; the greeting waits.
            sent = serve(&mut session).0;
        }
        let received = understand(&sent[GREETING_BYTES..], oldest);
        refused += received.option_replies.iter().filter(|(_, kind, _)| *kind >= 1 << 31).count() as u64;
        refused += received.replies.iter().filter(|(_, error, _)| *error != 0).count() as u64;
        replied += received.replies.iter().filter(|(_, error, _)| *error == 0).count() as u64;
        hung_up += u64::from(!open);
        reached += u64::from(!session.is_negotiating() && open);
    }
    // The test sees all sides of the protocol, or it shows nothing.
    for (what, count) in [("refusals", refused), ("replies", replied), ("ends", hung_up), ("open", reached)] {
        assert!(count > STREAMS / 20, "only {count} {what}");
    }
    support::memory::assert_peak_is_bounded();
}
