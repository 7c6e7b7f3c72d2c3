//! An observation as the states of a judge take it: its texts are read once, for all of them.

use crate::command::Command;
use crate::command::reply::Reply;
use crate::event::Event;
use crate::json::Json;
use crate::observation::Observation;
use crate::shared::Shared;
use crate::step::client::Asked;

/// An observation as a state takes it: texts are read once, for all states.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// A command was sent.
    Sent {
        client: u32,
        asked: Asked,
    },
    /// A client got a reply, with this `id`.
    Reply {
        client: u32,
        reply: Reply<'a>,
        echo: Option<String>,
    },
    /// A client got what is no reply.
    NoReply {
        client: u32,
        text: &'a str,
    },
    /// An event about a job.
    Event(Event<'a>),
    /// An event that is none, and why.
    NoEvent(String),
    /// An event about something else.
    Nothing,
    Other(&'a Observation<'a>),
}

impl<'a> Seen<'a> {
    /// Reads the texts of an observation; `json` is its text, taken apart, if that can be done.
    pub(crate) fn read(observation: &'a Observation<'a>, json: Option<&'a Json<'a>>) -> Seen<'a> {
        match *observation {
            Observation::Sent { client, text } => {
                let (command, echo) = Command::read(text);
                let text = Shared::from(text.trim().to_owned());
                Seen::Sent { client, asked: Asked { command: Shared::from(command), text, echo } }
            }
            Observation::Reply { client, text } => {
                match json.and_then(|json| Some((json, Reply::read(json)?))) {
                    Some((json, reply)) => {
                        let echo = json.get("id").map(ToString::to_string);
                        Seen::Reply { client, reply, echo }
                    }
                    None => Seen::NoReply { client, text },
                }
            }
            Observation::Event { text } => match json.map(Event::read) {
                None => Seen::NoEvent(format!("an event that is no JSON: {text}")),
                Some(Err(what)) => Seen::NoEvent(what),
                Some(Ok(None)) => Seen::Nothing,
                Some(Ok(Some(event))) => Seen::Event(event),
            },
            _ => Seen::Other(observation),
        }
    }
}
