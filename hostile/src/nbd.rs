//! NBD from a client's side: sessions that are right in one of many ways, and what is left of them after a few changes.

use crate::random::Random;

/// What a client of today says first.
pub const FLAGS: [u8; 4] = [0, 0, 0, 3];

/// An option of the handshake.
pub fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).expect("a short option");
    [b"IHAVEOPT", &number.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

/// A name with its length, and what follows it.
pub fn named(name: &str, rest: &[u8]) -> Vec<u8> {
    let len = u32::try_from(name.len()).expect("a short name");
    [&len.to_be_bytes()[..], name.as_bytes(), rest].concat()
}

/// A request, whose cookie names its command.
pub fn request(command: u16, flags: u16, offset: u64, len: u32, payload: &[u8]) -> Vec<u8> {
    let cookie = u64::from(command) << 32 | 0xbeef;
    [
        &0x2560_9513_u32.to_be_bytes()[..],
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &cookie.to_be_bytes(),
        &offset.to_be_bytes(),
        &len.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// A good start into the export `rw`, with requests to follow.
pub fn good_start() -> Vec<u8> {
    [&FLAGS[..], &option(7, &named("rw", &[0, 0]))].concat()
}

/// A client of the exports `rw` and `ro`, of `size` bytes, that does everything right, in one of many ways.
pub fn valid_stream(size: u64, random: &mut Random) -> Vec<u8> {
    let mut stream = FLAGS.to_vec();
    let name = *random.pick(&["rw", "ro"]);
    let context =
        named(name, &[&1_u32.to_be_bytes()[..], &15_u32.to_be_bytes(), b"base:allocation"].concat());
    let info = named(name, &[0, 1, 0, 3]);
    for _ in 0..random.below(4) {
        stream.extend(match random.below(5) {
            0 => option(8, &[]),
            1 => option(3, &[]),
            2 => option(9, &named(name, &0_u32.to_be_bytes())),
            3 => option(10, &context),
            _ => option(6, &info),
        });
    }
    stream.extend(if random.one_in(8) { option(1, name.as_bytes()) } else { option(7, &info) });
    requests(size, random, &mut stream);
    stream
}

fn requests(size: u64, random: &mut Random, stream: &mut Vec<u8>) {
    for _ in 0..random.below(8) {
        let command = *random.pick(&[0, 1, 3, 4, 5, 6, 7, 2]);
        let len = random.below(2048) as u32;
        let payload = vec![0x11; if command == 1 { len as usize } else { 0 }];
        let (flags, offset) = (*random.pick(&[0, 1, 2, 4, 8]), random.below(size));
        stream.extend(request(command, flags, offset, len, &payload));
    }
}

/// Changes a stream in a few places.
pub fn mutate(stream: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.index(stream.len() + 1);
        match random.below(6) {
            0 => stream.truncate(at),
            1 => stream.insert(at, random.any() as u8),
            2 if at < stream.len() => drop(stream.remove(at)),
            3 if at < stream.len() => stream[at] ^= 1 << random.below(8),
            4 if at + 4 <= stream.len() => {
                let number: u32 = *random.pick(&[0, 1, u32::MAX, 1 << 31, 32 << 20, (32 << 20) + 1]);
                stream[at..at + 4].copy_from_slice(&number.to_be_bytes());
            }
            _ => {
                let end = (at + random.index(64)).min(stream.len());
                let again = stream[at..end].to_vec();
                stream.splice(at..at, again);
            }
        }
    }
}

/// A hostile stream: a valid one or noise, changed; every second noise behind a good start.
pub fn stream(size: u64, random: &mut Random) -> Vec<u8> {
    let kind = random.below(4);
    let mut stream = match kind {
        0 | 2 => valid_stream(size, random),
        _ => (0..random.below(200)).map(|_| random.any() as u8).collect(),
    };
    mutate(&mut stream, random);
    if kind == 1 {
        stream.splice(0..0, good_start());
    }
    stream
}

/// Sound requests at the ends of things, behind a good start: nothing is malformed, all is extreme.
pub fn extreme_requests(size: u64, random: &mut Random) -> Vec<u8> {
    let mut stream = [&FLAGS[..], &option(8, &[]), &option(7, &named("rw", &[0, 0]))].concat();
    for _ in 0..1 + random.below(40) {
        let command = *random.pick(&[0, 0, 1, 3, 4, 5, 6, 7, 8, 999]);
        let len = *random.pick(&[0, 1, 511, 512, 4096, 65536, 1 << 20, 32 << 20, (32 << 20) + 1, u32::MAX]);
        let offset = *random.pick(&[
            0,
            1,
            size / 2,
            size - 512,
            size - 1,
            size,
            size + 1,
            u64::MAX,
            u64::MAX - 511,
            1 << 63,
        ]);
        let flags = *random.pick(&[0, 0, 0, 1, 2, 4, 8, 16, 31, u16::MAX]);
        let payload = vec![0x22; if command == 1 { len.min(1 << 20) as usize } else { 0 }];
        let len = if command == 1 { payload.len() as u32 } else { len };
        stream.extend(request(command, flags, offset, len, &payload));
    }
    stream
}
