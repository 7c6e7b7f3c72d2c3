//! Events, as the model understands them.

use crate::job::{ErrorAction, Status};
use crate::json::Json;

/// One event about a job. Fields borrow from the event's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// The job's id.
    pub job: &'a str,
    /// What happened to it.
    pub news: News<'a>,
}

/// What an event reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News<'a> {
    /// `JOB_STATUS_CHANGE`
    Status(Status),
    /// `BLOCK_JOB_COMPLETED`, with the text of the error if it failed.
    Completed(Progress<'a>, Option<&'a str>),
    /// `BLOCK_JOB_CANCELLED`
    Cancelled(Progress<'a>),
    /// `BLOCK_JOB_READY`
    Ready(Progress<'a>),
    /// `BLOCK_JOB_PENDING`, with the type of the job.
    Pending(&'a str),
    /// `BLOCK_JOB_ERROR`, with the operation it names.
    Error(ErrorAction, &'a str),
}

/// How far a job says it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress<'a> {
    /// `type`
    pub kind: &'a str,
    /// `offset`
    pub offset: i64,
    /// `len`
    pub len: i64,
    /// `speed`
    pub speed: i64,
}

impl<'a> Event<'a> {
    /// Reads an event. `Err` says what is wrong with it; `Ok(None)` is an event about something else than a job.
    pub fn read(json: &'a Json<'a>) -> Result<Option<Event<'a>>, String> {
        let name = json.text_of("event").ok_or("an event without a name")?;
        let missing = |member: &str| format!("{name} without a proper `{member}`");
        let data = json.get("data").unwrap_or(&Json::Null);
        let text = |member: &str| data.text_of(member).ok_or_else(|| missing(member));
        let (job, news) = match name {
            "JOB_STATUS_CHANGE" => {
                let word = text("status")?;
                let status = Status::from_word(word).ok_or_else(|| format!("there is no status `{word}`"))?;
                (text("id")?, News::Status(status))
            }
            "BLOCK_JOB_COMPLETED" => {
                (text("device")?, News::Completed(Progress::read(name, data)?, data.text_of("error")))
            }
            "BLOCK_JOB_CANCELLED" => (text("device")?, News::Cancelled(Progress::read(name, data)?)),
            "BLOCK_JOB_READY" => (text("device")?, News::Ready(Progress::read(name, data)?)),
            "BLOCK_JOB_PENDING" => (text("id")?, News::Pending(text("type")?)),
            "BLOCK_JOB_ERROR" => {
                let word = text("action")?;
                let action = ErrorAction::from_word(word)
                    .ok_or_else(|| format!("there is no error action `{word}`"))?;
                (text("device")?, News::Error(action, text("operation")?))
            }
            _ => return Ok(None),
        };
        Ok(Some(Event { job, news }))
    }

    /// The event in a few words, for histories.
    pub fn words(&self) -> &'static str {
        match self.news {
            News::Status(status) => status.word(),
            News::Completed(_, None) => "BLOCK_JOB_COMPLETED",
            News::Completed(_, Some(_)) => "BLOCK_JOB_COMPLETED with an error",
            News::Cancelled(_) => "BLOCK_JOB_CANCELLED",
            News::Ready(_) => "BLOCK_JOB_READY",
            News::Pending(_) => "BLOCK_JOB_PENDING",
            News::Error(..) => "BLOCK_JOB_ERROR",
        }
    }
}

impl<'a> Progress<'a> {
    fn read(name: &str, data: &'a Json<'a>) -> Result<Progress<'a>, String> {
        let number = |member: &str| {
            data.integer_of(member).ok_or_else(|| format!("{name} without a whole number `{member}`"))
        };
        Ok(Progress {
            kind: data.text_of("type").ok_or_else(|| format!("{name} without a `type`"))?,
            offset: number("offset")?,
            len: number("len")?,
            speed: number("speed")?,
        })
    }
}
