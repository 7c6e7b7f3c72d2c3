//! A client's request, done on the export's node.

use crate::engine::Guest;
use crate::host::{IoResult, Pending};
use crate::nbd::request::{Command, Request};
use crate::nbd::session::Answer;
use std::sync::Arc;

/// Does a request; `headroom` bytes stay free in front of what is read.
pub fn run(guest: Arc<Guest>, request: Request, headroom: usize) -> Pending<'static, Answer> {
    Box::pin(async move {
        let answered = answer(&guest, request, headroom).await;
        answered.unwrap_or_else(Answer::Failed)
    })
}

async fn answer(guest: &Guest, request: Request, headroom: usize) -> IoResult<Answer> {
    let offset = request.offset;
    match request.command {
        Command::Read { len, .. } => {
            return Ok(Answer::Data(guest.read_behind(offset, len.into(), headroom).await?));
        }
        Command::Write { data, fua } => {
            guest.write(offset, data).await?;
            make_durable(guest, fua).await?;
        }
        Command::WriteZeroes { len, fua, .. } => {
            guest.write_zeroes(offset, len).await?;
            make_durable(guest, fua).await?;
        }
        Command::Trim { len, fua } => {
            guest.discard(offset, len).await?;
            make_durable(guest, fua).await?;
        }
        Command::Flush => guest.flush().await?,
        // The host's page cache does that by itself when the bytes are read.
        Command::Cache { .. } => {}
        Command::BlockStatus { .. } => return Err(crate::host::Errno::EINVAL),
    }
    Ok(Answer::Done)
}

async fn make_durable(guest: &Guest, fua: bool) -> IoResult<()> {
    if fua { guest.flush().await } else { Ok(()) }
}
