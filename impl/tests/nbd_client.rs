//! The NBD client without a socket: what its own server and it say to each other, the texts that real servers' mistakes
//! get, and a hundred thousand hostile servers.

mod support;

use block::nbd::client::failure::Failed;
use block::nbd::client::{Client, Outcome, REQUESTS_MAX, Wishes};
use block::nbd::offer::{Exports, Offer};
use block::nbd::reply::{Answer, Extent, Piece};
use block::nbd::request::{BitmapSet, Command, Cookie, Request};
use block::nbd::session::{Session, Step};
use hostile::nbd_reply::{Wanted, block_info, chunk, context, export_info, greeting, option_reply, stream};
use hostile::random::Random;
use seam::Errno;
use std::sync::Arc;

const SIZE: u64 = 1 << 20;

fn client() -> Client {
    Client::new(Wishes { export: "e".to_owned(), context: None })
}

struct One;

impl Exports for One {
    fn list(&self) -> Vec<Offer> {
        vec![Offer {
            name: "e".to_owned(),
            description: Some("the one".to_owned()),
            len_bytes: SIZE,
            writable: true,
            multi_conn: true,
            allocation_depth: false,
            bitmaps: Vec::new(),
        }]
    }

    fn find(&self, name: &str) -> Option<Offer> {
        self.list().into_iter().find(|offer| offer.name == name)
    }

    fn enter(&mut self, name: &str) -> Option<Offer> {
        self.find(name)
    }
}

/// Moves bytes both ways until nothing moves; what the server is asked for, it answers as `serve` says.
fn converse(client: &mut Client, session: &mut Session, serve: &mut dyn FnMut(Request, usize) -> Answer) {
    loop {
        let mut moved = false;
        while let Some(bytes) = client.take_output() {
            moved = true;
            session.receive(&bytes);
        }
        while let Some(step) = session.next(&mut One) {
            moved = true;
            match step {
                Step::Close => return,
                Step::Do(ticket, request) => {
                    let answer = serve(request, ticket.headroom);
                    session.answer(ticket, answer);
                }
            }
        }
        while let Some(bytes) = session.take_output() {
            moved = true;
            client.receive(&bytes).expect("our server makes sense");
        }
        if !moved {
            return;
        }
    }
}

fn every_command() -> Vec<Command> {
    let bitmaps = BitmapSet::default();
    vec![
        Command::Read { len: 6000, sparse: true },
        Command::Read { len: 6000, sparse: false },
        Command::Write { data: vec![9; 3 << 20 >> 2], fua: true },
        Command::WriteZeroes { len: 70_000, fua: false, may_unmap: true, fast_only: false },
        Command::WriteZeroes { len: 512, fua: true, may_unmap: false, fast_only: false },
        Command::Trim { len: 4096, fua: false },
        Command::Flush,
        Command::Cache { len: 512 },
        Command::BlockStatus { len: 8192, one: true, chain: true, bitmaps },
    ]
}

// What the client asks for is what the server is asked for, and what the server answers is what the client learns.
#[test]
fn client_and_server_understand_each_other() {
    let (mut client, mut session) = (client(), Session::new());
    let mut asked = Vec::new();
    converse(&mut client, &mut session, &mut |_, _| panic!("a request in the handshake"));
    let export = *client.export().expect("the handshake is over");
    assert_eq!((export.len_bytes, export.block_bytes, export.request_bytes_max), (SIZE, 1, 32 << 20));
    assert!(export.has_context() && export.flushes() && export.trims() && export.writes_zeroes());
    assert!(!export.is_read_only());
    let cookies: Vec<Cookie> =
        every_command().into_iter().map(|command| client.ask(1024, Arc::new(command))).collect();
    converse(&mut client, &mut session, &mut |request, headroom| {
        asked.push((request.offset, request.command.clone()));
        match request.command {
            Command::Read { len, sparse: true } => Answer::Pieces(vec![
                Piece::Data(vec![7; headroom + 1000]),
                Piece::Hole(3000),
                Piece::Data(vec![8; headroom + len as usize - 4000]),
            ]),
            Command::Read { len, .. } => Answer::Data(vec![6; headroom + len as usize]),
            Command::Trim { .. } => Answer::Failed(Errno::EIO),
            Command::BlockStatus { len, .. } => {
                Answer::Extents(vec![Extent { len, allocation: 3, depth: 1 }])
            }
            _ => Answer::Done,
        }
    });
    let wanted: Vec<(u64, Command)> = every_command().into_iter().map(|command| (1024, command)).collect();
    assert_eq!(asked, wanted);
    let pieces = [vec![7; 1000], vec![0; 3000], vec![8; 2000]].concat();
    let outcomes: Vec<Outcome> =
        cookies.iter().map(|cookie| client.take_outcome(*cookie).expect("it was answered")).collect();
    let done = Outcome::Done;
    let expected = [
        Outcome::Data(pieces),
        Outcome::Data(vec![6; 6000]),
        done.clone(),
        done.clone(),
        done.clone(),
        Outcome::Failed(Errno::EIO),
        done.clone(),
        done,
        Outcome::Extents(vec![(8192, 3)]),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(client.take_outcome(cookies[0]), None, "an outcome is taken once");
    client.leave();
    let goodbye = client.take_output().expect("a goodbye");
    session.receive(&goodbye);
    assert!(matches!(session.next(&mut One), Some(Step::Close)));
}

#[test]
fn only_so_many_requests_are_under_way_and_those_that_are_forgotten_count_until_they_end() {
    let (mut client, mut session) = (client(), Session::new());
    converse(&mut client, &mut session, &mut |_, _| Answer::Done);
    let cookies: Vec<Cookie> = (0..REQUESTS_MAX).map(|_| client.ask(0, Arc::new(Command::Flush))).collect();
    assert!(!client.may_ask());
    client.forget(cookies[3]);
    assert!(!client.may_ask(), "the server still works on it");
    converse(&mut client, &mut session, &mut |_, _| Answer::Done);
    assert!(client.may_ask());
    assert_eq!(client.take_outcome(cookies[3]), None);
    assert_eq!(client.take_outcome(cookies[4]), Some(Outcome::Done));
}

fn error(number: u32) -> u32 {
    1 << 31 | number
}

/// All of the handshake before the last option.
fn before_go() -> Vec<u8> {
    let ack = option_reply(10, 1, &[]);
    [greeting(), option_reply(8, 1, &[]), option_reply(10, 4, &context()), ack].concat()
}

fn go(replies: &[(u32, &[u8])]) -> Vec<u8> {
    let replies = replies.iter().flat_map(|(kind, data)| option_reply(7, *kind, data));
    before_go().into_iter().chain(replies).collect()
}

fn context_replies(replies: &[(u32, &[u8])]) -> Vec<u8> {
    let replies = replies.iter().flat_map(|(kind, data)| option_reply(10, *kind, data));
    [greeting(), option_reply(8, 1, &[])].concat().into_iter().chain(replies).collect()
}

/// A server that says no more than this, and what the real qemu-storage-daemon 10.0.2 says of it; nothing: it opens.
type Said = (Vec<u8>, &'static str);

const EOF: &str = "Failed to read option reply: Unexpected end-of-file before all data were read";

/// Servers that do not get as far as the export.
fn servers_before_the_export() -> Vec<Said> {
    vec![
        (Vec::new(), "Failed to read initial magic: Unexpected end-of-file before all data were read"),
        (vec![b'X'; 18], "Bad initial magic received: 0x5858585858585858"),
        (b"NBDMAGICYYYYYYYYYY".to_vec(), "Bad server magic received: 0x5959595959595959"),
        (
            b"NBDMAGICIHAVEOPT".to_vec(),
            "Failed to read server flags: Unexpected end-of-file before all data were read",
        ),
        (
            b"NBDMAGICIHAVEOPT\0\x02".to_vec(),
            "Failed to read export length: Unexpected end-of-file before all data were read",
        ),
        ([&b"NBDMAGICIHAVEOPT\0\0"[..], &SIZE.to_be_bytes(), &[0, 1], &[0; 124]].concat(), ""),
        (greeting(), EOF),
        ([greeting(), vec![b'Z'; 20]].concat(), "Unexpected option reply magic"),
        (
            [greeting(), option_reply(8, 1, b"x")].concat(),
            "Option 8 ('structured reply') response length is 1 (it should be zero)",
        ),
        (
            [greeting(), option_reply(8, 2, &[])].concat(),
            "Server answered option 8 (structured reply) with unexpected reply 2 (server)",
        ),
        ([greeting(), option_reply(8, error(2), b"no\n\x1b")].concat(), EOF),
        (
            context_replies(&[(4, b"xx")]),
            "Failed to negotiate meta context, server answered with unexpected length 2",
        ),
        (
            context_replies(&[(4, b"\0\0\0\x05base:allo")]),
            "Failed to negotiate meta context 'base:allocation', server answered with different context 'base:allo'",
        ),
        (context_replies(&[(4, &context()), (4, &context())]), "Server answered with more than one context"),
        (context_replies(&[(error(3), b"bad")]), EOF),
        (context_replies(&[(1, b"x")]), "Unexpected length to ACK response"),
        (context_replies(&[(77, b"x")]), "Unexpected reply type 77 (<unknown>), expected 4 (meta context)"),
    ]
}

/// Servers that describe their export, or refuse it.
fn servers_with_an_export() -> Vec<Said> {
    let info = export_info(SIZE);
    let good = [(3, &info[..]), (1, &[][..])];
    let with_blocks = |blocks: [u32; 3]| {
        let blocks = block_info(blocks[0], blocks[1], blocks[2]);
        go(&[(3, &blocks[..]), good[0], good[1]])
    };
    vec![
        (go(&good), ""),
        (go(&[(1, b"")]), "broken server omitted NBD_INFO_EXPORT"),
        (go(&[(3, &info), (1, b"x")]), "server sent invalid NBD_REP_ACK"),
        (go(&[(3, b"x")]), "NBD_REP_INFO length 1 is too short"),
        (go(&[(3, &[&info[..], b"x"].concat())]), "remaining export info len 11 is unexpected size"),
        (with_blocks([0, 4096, 1 << 25]), "server minimum block size 0 is not a power of two"),
        (with_blocks([3, 4096, 1 << 25]), "server minimum block size 3 is not a power of two"),
        (with_blocks([512, 256, 1 << 25]), "server preferred block size 256 is not valid"),
        (with_blocks([512, 700, 1 << 25]), "server preferred block size 700 is not valid"),
        (with_blocks([512, 4096, 256]), "server maximum block size 256 is not valid"),
        (with_blocks([512, 4096, 4097]), ""),
        (
            go(&[(3, &block_info(4096, 4096, 1 << 25)), (3, &export_info(5000))]),
            "export size 5000 is not multiple of minimum block size 4096",
        ),
        (
            go(&[(3, &export_info((1 << 63) - 512)), (1, b"")]),
            "Could not refresh total sector count: File too large",
        ),
        (go(&[(error(5), b"")]), "TLS negotiation required before option 7 (go)"),
        (go(&[(error(2), b"because")]), "Denied by server for option 7 (go)"),
        (go(&[(error(4), b"")]), "Server lacks support for option 7 (go)"),
        (go(&[(error(6), b"")]), "Requested export not available"),
        (go(&[(error(7), b"")]), "Server shutting down before option 7 (go)"),
        (go(&[(error(8), b"")]), "Server requires INFO_BLOCK_SIZE for option 7 (go)"),
        (go(&[(error(1234), b"hm")]), "Unknown error code when asking for option 7 (go)"),
        (go(&[(2, b"")]), "unexpected reply type 2 (server), expected 3 (info)"),
        (go(&[(3, &info)]), EOF),
    ]
}

/// Lets a server say all of it and hang up; why the client does not like it, if it does not.
fn meet(said: &[u8], piece: usize) -> Option<Failed> {
    let mut client = client();
    for piece in said.chunks(piece) {
        if let Err(failed) = client.receive(piece) {
            return Some(failed);
        }
    }
    client.export().is_none().then(|| client.why_it_failed_at_the_end())
}

#[test]
fn a_server_that_makes_no_sense_is_refused_in_qemus_words() {
    for (said, expected) in servers_before_the_export().into_iter().chain(servers_with_an_export()) {
        for piece in [1, 7, 1 << 16] {
            let text = meet(&said, piece).map(|failed| failed.to_string()).unwrap_or_default();
            assert_eq!(text, expected, "in pieces of {piece}: {:?}", String::from_utf8_lossy(&said));
        }
    }
}

/// A client in the export, with a read of 4096 bytes at 8192 and a status under way.
fn two_requests() -> Client {
    let mut client = client();
    let info = export_info(SIZE);
    client.receive(&go(&[(3, &info), (1, b"")])).expect("a good start");
    client.ask(8192, Arc::new(Command::Read { len: 4096, sparse: true }));
    let bitmaps = BitmapSet::default();
    client.ask(0, Arc::new(Command::BlockStatus { len: 4096, one: true, chain: true, bitmaps }));
    client
}

#[test]
fn a_reply_that_makes_no_sense_ends_the_connection() {
    let data = |offset: u64, len: usize| [&offset.to_be_bytes()[..], &vec![1; len]].concat();
    let hole = |offset: u64, len: u32| [&offset.to_be_bytes()[..], &len.to_be_bytes()].concat();
    let status = |context: u32, len: u32| [context, len, 0].map(u32::to_be_bytes).concat();
    for (reply, why) in [
        (vec![0; 4], "no reply begins so"),
        (chunk(1, 1, 1, &data(8191, 10)), "data from outside of what was asked for"),
        (chunk(1, 1, 1, &data(12_280, 10)), "data from outside of what was asked for"),
        (chunk(1, 1, 1, &data(u64::MAX, 10)), "data from outside of what was asked for"),
        (chunk(1, 1, 1, &data(8192, 0)), "a piece that is empty, or one too many"),
        (chunk(1, 1, 1, &[0; 7]), "data without its offset"),
        (chunk(1, 1, 2, &data(0, 10)), "data for a request that reads none"),
        (chunk(1, 1, 3, &data(0, 10)), "a reply to nothing that was asked"),
        (chunk(1, 2, 1, &hole(8192, 5000)), "data from outside of what was asked for"),
        (chunk(1, 2, 1, &hole(8192, 100)), "a reply that lacks what was asked for"),
        (chunk(1, 2, 1, &[0; 11]), "a hole of another length"),
        (chunk(1, 0, 1, &[]), "a reply that lacks what was asked for"),
        (chunk(0, 0, 1, &[]), "a chunk of no known kind"),
        (chunk(1, 99, 1, &[]), "a chunk of no known kind"),
        (chunk(1, 99, 1, &[0; 9000]), "a chunk that is too long"),
        (chunk(1, 5, 1, &status(5, 4096)), "extents for a request that asks for none"),
        (chunk(1, 5, 2, &status(6, 4096)), "extents of another context, or twice"),
        (chunk(1, 5, 2, &status(5, 0)), "an empty extent"),
        (chunk(1, 5, 2, &status(5, 1)[..10]), "half an extent"),
        (chunk(1, 5, 2, &status(5, 1)[..4]), "a reply that lacks what was asked for"),
        (chunk(1, 1 << 15 | 1, 1, &[0, 0, 0, 5]), "an error without its number or text"),
        (chunk(1, 1 << 15 | 1, 1, &[0; 6]), "an error that is none"),
        (hostile::nbd_reply::simple(0, 1), "a simple reply to a read, where chunks were agreed"),
        (hostile::nbd_reply::simple(0, 2), "a reply that lacks what was asked for"),
    ] {
        let answer = two_requests().receive(&reply);
        assert_eq!(answer, Err(Failed::Nonsense(why)), "{reply:?}");
    }
    let good = [chunk(0, 2, 1, &hole(8192, 96)), chunk(1, 1, 1, &data(8288, 4000))].concat();
    let mut client = two_requests();
    for byte in &good {
        client.receive(&[*byte]).expect("a good reply in small pieces");
    }
    let expected = [vec![0; 96], vec![1; 4000]].concat();
    assert_eq!(client.take_outcome(Cookie(1)), Some(Outcome::Data(expected)));
}

/// The requests that a client of the hostile servers makes, as its servers know them.
fn requests(random: &mut Random) -> Vec<(Wanted, u64, u64, u32)> {
    let request = |cookie| {
        let wanted = *random.pick(&[Wanted::Data, Wanted::Status, Wanted::Done]);
        let len = if wanted == Wanted::Done { 0 } else { 1 + random.below(4096) as u32 };
        (wanted, cookie, random.below(SIZE / 2), len)
    };
    (1..=8).map(request).collect()
}

fn command(wanted: Wanted, len: u32) -> Command {
    match wanted {
        Wanted::Data => Command::Read { len, sparse: true },
        Wanted::Status => Command::BlockStatus { len, one: true, chain: true, bitmaps: BitmapSet::default() },
        Wanted::Done => Command::Flush,
    }
}

// Whatever a server sends, the client gets what it asked for or an error, and holds no more than was sent to it.
#[test]
fn a_hundred_thousand_hostile_servers_get_errors_or_give_valid_replies() {
    const SERVERS: u64 = 100_000;
    const HELD_BYTES_MAX: usize = 1 << 17;
    let mut random = Random::new(20_261_201);
    let (mut handshakes, mut nonsense, mut outcomes, mut failed) = (0_u64, 0_u64, 0_u64, 0_u64);
    for number in 0..SERVERS {
        let requests = requests(&mut random);
        let stream = stream(SIZE, &requests, &mut random);
        let mut client = client();
        let mut asked = Vec::new();
        let mut broken = None;
        for piece in stream.chunks(1 + random.below(512) as usize) {
            broken = client.receive(piece).err();
            let held = client.held_bytes();
            assert!(held <= HELD_BYTES_MAX, "server {number} makes the client hold {held} bytes");
            if broken.is_some() {
                break;
            }
            if client.export().is_some() && asked.is_empty() {
                for (wanted, _, offset, len) in &requests {
                    asked.push((*wanted, *len, client.ask(*offset, Arc::new(command(*wanted, *len)))));
                }
            }
            while client.take_output().is_some() {}
        }
        handshakes += u64::from(broken.is_some() && asked.is_empty());
        nonsense += u64::from(broken.is_some() && !asked.is_empty());
        for (wanted, len, cookie) in asked {
            match (client.take_outcome(cookie), wanted) {
                (None, _) => {}
                (Some(Outcome::Failed(_)), _) => failed += 1,
                (Some(Outcome::Data(data)), Wanted::Data) => {
                    assert_eq!(data.len(), len as usize);
                    outcomes += 1;
                }
                (Some(Outcome::Extents(extents)), Wanted::Status) => {
                    assert!(!extents.is_empty() && extents.iter().all(|(len, _)| *len > 0));
                    outcomes += 1;
                }
                (Some(Outcome::Done), Wanted::Done) => outcomes += 1,
                (Some(other), wanted) => panic!("server {number} answers {wanted:?} with {other:?}"),
            }
        }
    }
    // The test sees all sides of the protocol, or it shows nothing.
    let seen =
        [("handshakes", handshakes), ("nonsense", nonsense), ("outcomes", outcomes), ("failures", failed)];
    for (what, count) in seen {
        assert!(count > SERVERS / 50, "only {count} {what}");
    }
    support::memory::assert_peak_is_bounded();
}
