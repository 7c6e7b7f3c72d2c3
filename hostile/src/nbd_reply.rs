//! NBD from a server's side: streams that are right in one of many ways for the client of midstream, and what is left of
//! them after a few changes.

use crate::nbd::mutate;
use crate::random::Random;

const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const SIMPLE_MAGIC: u32 = 0x6744_6698;
const CHUNK_MAGIC: u32 = 0x668e_33ef;
/// The number of the context that is agreed.
const CONTEXT: u32 = 5;
/// Has flags, and can flush, write through, trim and write zeroes.
const FLAGS: u16 = 0x6d;

/// A greeting: fixed newstyle, no zeroes.
pub fn greeting() -> Vec<u8> {
    b"NBDMAGICIHAVEOPT\0\x03".to_vec()
}

/// A reply to an option.
pub fn option_reply(option: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).expect("a short reply");
    [
        &OPTION_REPLY_MAGIC.to_be_bytes()[..],
        &option.to_be_bytes(),
        &kind.to_be_bytes(),
        &len.to_be_bytes(),
        data,
    ]
    .concat()
}

/// What `GO` answers about an export of this size.
pub fn export_info(size: u64) -> Vec<u8> {
    [&[0, 0][..], &size.to_be_bytes(), &FLAGS.to_be_bytes()].concat()
}

/// What `GO` answers about the blocks of an export.
pub fn block_info(min: u32, preferred: u32, max: u32) -> Vec<u8> {
    [&[0, 3][..], &min.to_be_bytes(), &preferred.to_be_bytes(), &max.to_be_bytes()].concat()
}

/// The number of `base:allocation`, and its name.
pub fn context() -> Vec<u8> {
    [&CONTEXT.to_be_bytes()[..], b"base:allocation"].concat()
}

/// A reply without data.
pub fn simple(error: u32, cookie: u64) -> Vec<u8> {
    [&SIMPLE_MAGIC.to_be_bytes()[..], &error.to_be_bytes(), &cookie.to_be_bytes()].concat()
}

/// A chunk of a reply.
pub fn chunk(flags: u16, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("a short chunk");
    [
        &CHUNK_MAGIC.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &kind.to_be_bytes(),
        &cookie.to_be_bytes(),
        &len.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// A handshake that ends in an export of this size; whether replies come in chunks from then on.
pub fn handshake(size: u64, random: &mut Random) -> (Vec<u8>, bool) {
    let mut stream = greeting();
    let structured = !random.one_in(4);
    if structured {
        stream.extend(option_reply(8, 1, &[]));
        if random.one_in(8) {
            stream.extend(option_reply(10, 1 << 31 | 1, b"no contexts"));
        } else {
            stream.extend(option_reply(10, 4, &context()));
            stream.extend(option_reply(10, 1, &[]));
        }
    } else {
        stream.extend(option_reply(8, 1 << 31 | 1, &[]));
    }
    if random.one_in(8) {
        stream.extend(option_reply(7, 1 << 31 | 1, b"not here"));
        stream.extend(size.to_be_bytes());
        stream.extend(FLAGS.to_be_bytes());
        return (stream, structured);
    }
    if random.one_in(2) {
        let min = *random.pick(&[1, 512, 4096]);
        stream.extend(option_reply(7, 3, &block_info(min, 4096, 1 << 25)));
    }
    stream.extend(option_reply(7, 3, &export_info(size)));
    stream.extend(option_reply(7, 1, &[]));
    (stream, structured)
}

/// What a request may be answered with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Bytes from an offset.
    Data,
    /// What is known of a range.
    Status,
    /// That it is done.
    Done,
}

/// A right answer to the request of this number.
pub fn answer(
    structured: bool,
    wanted: Wanted,
    (cookie, offset, len): (u64, u64, u32),
    random: &mut Random,
) -> Vec<u8> {
    if random.one_in(8) {
        let text = [&5_u32.to_be_bytes()[..], &[0, 2], b"no"].concat();
        return if structured { chunk(1, 1 << 15 | 1, cookie, &text) } else { simple(5, cookie) };
    }
    match wanted {
        Wanted::Data if structured => {
            let half = len / 2;
            let hole = [&offset.to_be_bytes()[..], &half.to_be_bytes()].concat();
            let rest = (offset + u64::from(half)).to_be_bytes();
            let data = [&rest[..], &vec![0x77; (len - half) as usize]].concat();
            let first = if half > 0 { chunk(0, 2, cookie, &hole) } else { Vec::new() };
            [first, chunk(1, 1, cookie, &data)].concat()
        }
        Wanted::Data => [simple(0, cookie), vec![0x77; len as usize]].concat(),
        Wanted::Status => {
            let extent = [&CONTEXT.to_be_bytes()[..], &len.to_be_bytes(), &3_u32.to_be_bytes()].concat();
            chunk(1, 5, cookie, &extent)
        }
        Wanted::Done if structured && random.one_in(2) => chunk(1, 0, cookie, &[]),
        Wanted::Done => simple(0, cookie),
    }
}

/// A hostile server: a right handshake, and right answers to the requests of this list, in any order; then changed.
/// Every fourth is noise behind a good start.
pub fn stream(size: u64, requests: &[(Wanted, u64, u64, u32)], random: &mut Random) -> Vec<u8> {
    let (mut stream, structured) = handshake(size, random);
    let good = stream.len();
    let mut left = requests.to_vec();
    while !left.is_empty() {
        let (wanted, cookie, offset, len) = left.swap_remove(random.index(left.len()));
        stream.extend(answer(structured, wanted, (cookie, offset, len), random));
    }
    match random.below(4) {
        0 => {
            let noise: Vec<u8> = (0..random.below(200)).map(|_| random.any() as u8).collect();
            stream.truncate(good);
            stream.extend(noise);
        }
        1 => {
            let mut answers = stream.split_off(good);
            mutate(&mut answers, random);
            stream.extend(answers);
        }
        2 => mutate(&mut stream, random),
        _ => {}
    }
    stream
}
