//! The bytes of an NBD client, from its greeting to its goodbye, without a socket.
//!
//! A session holds little, answers whatever is asked within the size of its export, and does not depend on how the bytes
//! came: all at once or one after the other.

use block::nbd::offer::{Exports, Offer};
use block::nbd::reply::{Answer, Extent, Piece};
use block::nbd::request::Command;
use block::nbd::session::{Session, Step};
use seam::Errno;

/// More bytes are no more kinds of them.
const BYTES_MAX: usize = 1 << 14;
const SIZE: u64 = 1 << 20;
/// A session of one client that is served at once holds no more than its longest requests and replies.
const HELD_BYTES_MAX: u64 = 160 << 20;

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

/// Serves a client that sends these bytes.
pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let whole = answers(bytes, bytes.len().max(1));
    let piece = bytes.first().map_or(1, |byte| usize::from(*byte) % 7 + 1);
    assert!(whole == answers(bytes, piece), "what is answered depends on the pieces that the bytes come in");
}

/// What is answered, as one number and its length, if the bytes come in pieces of such a length; and whether it hung up.
fn answers(bytes: &[u8], piece: usize) -> (u64, u64, bool) {
    let mut session = Session::new();
    let mut all = (0, 0, false);
    for piece in bytes.chunks(piece) {
        session.receive(piece);
        let is_over = serve(&mut session, &mut all);
        assert!(session.held_bytes() <= HELD_BYTES_MAX, "{} bytes are held", session.held_bytes());
        assert_eq!(session.requests(), 0, "all that was asked is answered");
        if is_over {
            all.2 = true;
            break;
        }
    }
    all
}

/// Does every request at once. Whether the session hung up.
fn serve(session: &mut Session, all: &mut (u64, u64, bool)) -> bool {
    loop {
        let step = session.next(&mut Two);
        let is_over = step == Some(Step::Close);
        let is_idle = step.is_none();
        if let Some(Step::Do(ticket, request)) = step {
            let answer = answer(ticket.headroom, request.offset, request.command);
            session.answer(ticket, answer);
        }
        let mut has_sent = false;
        while let Some(piece) = session.take_output() {
            has_sent = true;
            all.0 =
                piece.iter().fold(all.0, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
            all.1 += piece.len() as u64;
        }
        if is_over || is_idle && !has_sent {
            return is_over;
        }
    }
}

fn answer(headroom: usize, offset: u64, command: Command) -> Answer {
    let data = |len: u32| vec![7; headroom + len as usize];
    match command {
        Command::Read { len, sparse } => {
            assert!(
                offset + u64::from(len) <= SIZE,
                "a read of {len} bytes at {offset} is within the export"
            );
            match sparse && len > 1 {
                true => Answer::Pieces(vec![Piece::Hole(len / 2), Piece::Data(data(len - len / 2))]),
                false => Answer::Data(data(len)),
            }
        }
        Command::BlockStatus { len, .. } => Answer::Extents(vec![Extent { len, allocation: 3, depth: 0 }]),
        Command::Trim { .. } => Answer::Failed(Errno::EIO),
        _ => Answer::Done,
    }
}
