//! A small NBD client: fixed newstyle, simple replies, one request at a time.

use super::case::IoOp;
use super::subject::{Answer, Disconnected, Request};

/// Where its bytes go to and come from.
pub trait Wire {
    /// Sends all of it.
    fn send(&mut self, data: &[u8]) -> Result<(), Disconnected>;
    /// Waits for so many bytes.
    fn receive(&mut self, len: usize) -> Result<Vec<u8>, Disconnected>;
}

const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const REQUEST_MAGIC: u32 = 0x2560_9513;
const FLAGS: u32 = 3;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_ERROR: u32 = 0x8000_0000;
const EXPORT_INFO_BYTES: usize = 12;
const COMMAND_DISCONNECT: u16 = 2;
const FLAG_NO_HOLE: u16 = 2;
/// An answer to an option that is longer than this is nobody's.
const OPTION_REPLY_BYTES_MAX: u32 = 1 << 16;

/// Chooses an export and says its size.
pub fn hello(wire: &mut dyn Wire, export: &str) -> Result<u64, Disconnected> {
    let greeting = wire.receive(18)?;
    if &greeting[..8] != b"NBDMAGIC" || &greeting[8..16] != OPTION_MAGIC {
        return Err(Disconnected("bad greeting".to_owned()));
    }
    let mut out = FLAGS.to_be_bytes().to_vec();
    let name = export.as_bytes();
    out.extend_from_slice(OPTION_MAGIC);
    out.extend(OPTION_GO.to_be_bytes());
    out.extend((name.len() as u32 + 6).to_be_bytes());
    out.extend((name.len() as u32).to_be_bytes());
    out.extend_from_slice(name);
    out.extend([0; 2]);
    wire.send(&out)?;
    let mut len_bytes = None;
    loop {
        let header = wire.receive(20)?;
        let (kind, len) = (be32(&header[12..]), be32(&header[16..]));
        if len > OPTION_REPLY_BYTES_MAX {
            return Err(Disconnected(format!("an answer of {len} bytes to an option")));
        }
        let body = wire.receive(len as usize)?;
        match kind {
            REPLY_INFO if body.len() == EXPORT_INFO_BYTES => len_bytes = Some(be64(&body[2..])),
            REPLY_ACK => break,
            kind if kind & REPLY_ERROR != 0 => {
                let text = String::from_utf8_lossy(&body);
                return Err(Disconnected(format!("option error {kind:#x}: {text}")));
            }
            _ => {}
        }
    }
    len_bytes.ok_or_else(|| Disconnected("no size of the export was reported".to_owned()))
}

/// Does one request.
pub fn request(wire: &mut dyn Wire, cookie: u64, request: Request<'_>) -> Result<Answer, Disconnected> {
    ask(wire, cookie, request)?;
    answer(wire, request)
}

/// Sends one request.
pub fn ask(wire: &mut dyn Wire, cookie: u64, request: Request<'_>) -> Result<(), Disconnected> {
    let command = match request.op {
        IoOp::Read | IoOp::Hash => 0,
        IoOp::Write => 1,
        IoOp::Flush => 3,
        IoOp::Discard => 4,
        IoOp::Zero => 6,
    };
    let flags = if request.nohole && request.op == IoOp::Zero { FLAG_NO_HOLE } else { 0 };
    let mut out = header(flags, command, cookie, request.offset, request.len);
    out.extend_from_slice(request.data);
    wire.send(&out)
}

/// Waits for the answer to a request that was sent.
pub fn answer(wire: &mut dyn Wire, request: Request<'_>) -> Result<Answer, Disconnected> {
    let reply = wire.receive(16)?;
    let error = be32(&reply[4..]);
    let reads = matches!(request.op, IoOp::Read | IoOp::Hash) && error == 0;
    let data = if reads { wire.receive(request.len as usize)? } else { Vec::new() };
    Ok(Answer { error, data })
}

/// Says goodbye.
pub fn goodbye(wire: &mut dyn Wire) {
    // Whoever has gone already needs no goodbye.
    let _gone = wire.send(&header(0, COMMAND_DISCONNECT, 0, 0, 0));
}

fn header(flags: u16, command: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    let mut out = REQUEST_MAGIC.to_be_bytes().to_vec();
    out.extend(flags.to_be_bytes());
    out.extend(command.to_be_bytes());
    out.extend(cookie.to_be_bytes());
    out.extend(offset.to_be_bytes());
    out.extend(len.to_be_bytes());
    out
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn be64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}
