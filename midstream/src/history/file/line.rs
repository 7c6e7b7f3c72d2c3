//! One observation as a line: an object with exactly one member that says what was seen, beside the step and the time.

use super::values::Values;
use crate::history::observed::Observed;
use crate::history::{Asked, Failure, Found};
use crate::request::Operation;
use model::{CrashKind, FaultKind};
use serde::{Deserialize, Serialize};

macro_rules! forms {
    ($( $name:ident: $form:ty, )*) => {
        /// A line after the header. Of the members after the first three, at most one is there; without any it is a note.
        #[derive(Serialize, Deserialize, Default, Debug)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        #[allow(missing_docs, reason = "each form says what it is")]
        pub struct Line {
            #[serde(skip_serializing_if = "Option::is_none")]
            pub step: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pub at_ns: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            pub note: Option<String>,
            $( #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$form>, )*
        }

        impl Line {
            /// How many things it says.
            fn count(&self) -> usize {
                0 $( + usize::from(self.$name.is_some()) )*
            }

            fn first(self) -> Option<Observed> {
                $( if let Some(form) = self.$name { return Some(form.into()); } )*
                None
            }
        }
    };
}

forms! {
    sent: Sent,
    reply: Reply,
    event: Event,
    unlisted: Unlisted,
    unlisted_refused: UnlistedRefused,
    attached: Attached,
    connected: Connected,
    refused: Refused,
    detached: Detached,
    read: Read,
    write: Write,
    write_zeroes: WriteZeroes,
    discard: Discard,
    flush: Flush,
    ended: Ended,
    struck: Struck,
    fault: Fault,
    view: View,
    crash: Crash,
    recovered: Recovered,
    closed: Closed,
    unreadable: Unreadable,
    end: End,
}

impl Line {
    /// What was observed; nothing, if it is only a note. Fails with why it is no line.
    pub fn observed(self) -> Result<Option<Observed>, &'static str> {
        match self.count() {
            0 if self.note.is_some() => Ok(None),
            0 => Err("the line says nothing"),
            1 if self.ended.as_ref().is_some_and(|ended| ended.values.is_some() && ended.error.is_some()) => {
                Err("a request ends with values or with an error, not with both")
            }
            1 => Ok(self.first()),
            _ => Err("the line says more than one thing"),
        }
    }

    /// The line of an observation.
    pub(super) fn of_observed(observed: &Observed) -> Line {
        let mut line = Line::default();
        match observed.clone() {
            Observed::Sent { client, text } => line.sent = Some(Sent { client, text }),
            Observed::Reply { client, text } => {
                line.reply = Some(Reply { client, text: text.trim_end().to_owned() });
            }
            Observed::Event { text } => line.event = Some(Event { text: text.trim_end().to_owned() }),
            Observed::SchemaCommandRefused { text } => line.unlisted_refused = Some(UnlistedRefused { text }),
            Observed::SchemaCommand => line.unlisted = Some(Unlisted {}),
            Observed::Attached { guest, node, writable } => {
                line.attached = Some(Attached { guest, node, writable });
            }
            Observed::Connected { guest, export } => line.connected = Some(Connected { guest, export }),
            Observed::Refused { guest, node, writable, why } => {
                line.refused = Some(Refused { guest, node, writable, why: Some(why) });
            }
            Observed::Detached { guest } => line.detached = Some(Detached { guest }),
            Observed::Began { request, guest, asked, .. } => line.began(request, guest, asked),
            Observed::Ended { request, result } => {
                let (values, error) = match result {
                    Ok(values) if values.is_empty() => (None, None),
                    Ok(values) => (Some(Values(values)), None),
                    Err(failure) => (None, Some(failure.text)),
                };
                line.ended = Some(Ended { request, values, error });
            }
            Observed::FaultStruck { file, kind, error } => {
                line.struck = Some(Struck { file, kind: kind.into(), error });
            }
            Observed::FaultArmed { file, kind, error } => {
                line.fault = Some(Fault { file, kind: kind.into(), error });
            }
            Observed::View { node, values } => line.view = Some(View { node, values: Values(values) }),
            Observed::Crash { kind } => line.crash = Some(Crash { kind: kind.into() }),
            Observed::Recovered(Found { file, values, chain, corruptions, damage, .. }) => {
                let (values, chain) = (Values(values), Some(chain));
                line.recovered = Some(Recovered { file, values, chain, corruptions, damage });
            }
            Observed::Closed(Found { file, values, chain, corruptions, leaks, damage }) => {
                let (values, chain) = (Values(values), Some(chain));
                line.closed = Some(Closed { file, values, chain, corruptions, leaks, damage });
            }
            Observed::Unreadable { file, why } => line.unreadable = Some(Unreadable { file, why }),
            Observed::End => line.end = Some(End {}),
        }
        line
    }

    fn began(&mut self, request: u64, guest: u32, asked: Asked) {
        let (sector, count) = (asked.sector, asked.count);
        match asked.operation {
            Operation::Read => self.read = Some(Read { request, guest, sector, count }),
            Operation::Write => {
                let (values, fua) = (Values(asked.values), asked.fua);
                self.write = Some(Write { request, guest, sector, values, fua });
            }
            Operation::WriteZeroes => self.write_zeroes = Some(WriteZeroes { request, guest, sector, count }),
            Operation::Discard => self.discard = Some(Discard { request, guest, sector, count }),
            Operation::Flush => self.flush = Some(Flush { request, guest }),
        }
    }
}

/// The members of one form, and the observation they make.
macro_rules! form {
    ($name:ident { $( $(#[$attribute:meta])* $field:ident: $kind:ty, )* } => $observed:expr) => {
        #[derive(Serialize, Deserialize, Debug)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        #[allow(missing_docs, reason = "observations of the same name say what each is")]
        pub struct $name { $( $(#[$attribute])* pub $field: $kind, )* }

        impl From<$name> for Observed {
            fn from(form: $name) -> Observed {
                let $name { $( $field ),* } = form;
                $observed
            }
        }
    };
}

form!(Sent { client: u32, text: String, } => Observed::Sent { client, text });
form!(Reply { client: u32, text: String, } => Observed::Reply { client, text });
form!(Event { text: String, } => Observed::Event { text });
form!(Attached { guest: u32, node: String, #[serde(default)] writable: bool, } =>
    Observed::Attached { guest, node, writable });
form!(Connected { guest: u32, export: String, } => Observed::Connected { guest, export });
form!(Refused {
    guest: u32,
    node: String,
    #[serde(default)] writable: bool,
    #[serde(skip_serializing_if = "Option::is_none")] why: Option<String>,
} => Observed::Refused { guest, node, writable, why: why.unwrap_or_default() });
form!(Detached { guest: u32, } => Observed::Detached { guest });
/// A request for so many sectors, that brings no values with it.
macro_rules! span {
    ($name:ident) => {
        form!($name { request: u64, guest: u32, sector: u64, count: u64, } => Observed::Began {
            request,
            guest,
            name: None,
            asked: Asked { operation: Operation::$name, sector, count, values: Vec::new(), fua: false },
        });
    };
}

form!(Unlisted {} => Observed::SchemaCommand);
form!(UnlistedRefused { text: String, } => Observed::SchemaCommandRefused { text });
form!(Unreadable { file: String, why: String, } => Observed::Unreadable { file, why });
form!(End {} => Observed::End);
span!(Read);
span!(WriteZeroes);
span!(Discard);
form!(Write {
    request: u64,
    guest: u32,
    sector: u64,
    values: Values,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")] fua: bool,
} => Observed::Began {
    request,
    guest,
    name: None,
    asked: Asked { operation: Operation::Write, sector, count: values.0.len() as u64, values: values.0, fua },
});
form!(Flush { request: u64, guest: u32, } => Observed::Began {
    request,
    guest,
    name: None,
    asked: Asked { operation: Operation::Flush, sector: 0, count: 0, values: Vec::new(), fua: false },
});
form!(Ended {
    request: u64,
    #[serde(skip_serializing_if = "Option::is_none")] values: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")] error: Option<String>,
} => {
    let result = match error {
        None => Ok(values.unwrap_or_default().0),
        Some(text) => Err(Failure { errno: 0, text }),
    };
    Observed::Ended { request, result }
});
form!(Struck { file: String, kind: Io, error: String, } =>
    Observed::FaultStruck { file, kind: kind.into(), error });
form!(Fault { file: String, kind: Io, error: String, } =>
    Observed::FaultArmed { file, kind: kind.into(), error });
form!(View { node: String, values: Values, } => Observed::View { node, values: values.0 });
form!(Crash { kind: HowCrashed, } => Observed::Crash { kind: kind.into() });
form!(Recovered {
    file: String,
    values: Values,
    chain: Option<Vec<String>>,
    #[serde(default)] corruptions: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] damage: Vec<String>,
} => {
    let chain = chain.unwrap_or_else(|| vec![file.clone()]);
    Observed::Recovered(Found { file, values: values.0, chain, corruptions, leaks: 0, damage })
});
form!(Closed {
    file: String,
    values: Values,
    chain: Option<Vec<String>>,
    #[serde(default)] corruptions: u64,
    #[serde(default)] leaks: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")] damage: Vec<String>,
} => {
    let chain = chain.unwrap_or_else(|| vec![file.clone()]);
    Observed::Closed(Found { file, values: values.0, chain, corruptions, leaks, damage })
});

/// Two enums of the same variants: the file's names, and the model's.
macro_rules! names {
    ($name:ident = $model:ident { $( $variant:ident ),* }) => {
        /// As files name it.
        #[derive(Clone, Copy, Serialize, Deserialize, Debug)]
        #[serde(rename_all = "kebab-case")]
        #[allow(missing_docs, reason = "the model's own say what each is")]
        pub enum $name { $( $variant ),* }

        impl From<$name> for $model {
            fn from(name: $name) -> $model {
                match name { $( $name::$variant => $model::$variant ),* }
            }
        }

        impl From<$model> for $name {
            fn from(name: $model) -> $name {
                match name { $( $model::$variant => $name::$variant ),* }
            }
        }
    };
}

names!(Io = FaultKind { Read, Write, Flush, Any });
names!(HowCrashed = CrashKind { Kill, KillUnheard, PowerCut });
