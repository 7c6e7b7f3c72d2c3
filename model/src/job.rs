//! The life of a job: statuses, verbs, and the two tables of QEMU 10.0 that relate them.
//!
//! Everything here is data. Which job is where, and why it moved, is the business of [`crate::judge`].

/// A job's type, as events and queries name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Data moves up a chain.
    Stream,
    /// Data moves down a chain.
    Commit,
    /// A copy that follows its source.
    Mirror,
    /// A copy of one moment.
    Backup,
}

impl Kind {
    /// The word in events and texts.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Stream => "stream",
            Kind::Commit => "commit",
            Kind::Mirror => "mirror",
            Kind::Backup => "backup",
        }
    }

    /// Whether such a job copies to a target apart from the chain.
    pub fn copies(self) -> bool {
        matches!(self, Kind::Mirror | Kind::Backup)
    }
}

/// A job's status, as `JOB_STATUS_CHANGE` names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Status {
    /// Does not exist yet; never reported.
    Undefined,
    /// Exists, has not run.
    Created,
    /// Works.
    Running,
    /// Stands at a pause point.
    Paused,
    /// Waits for completion by the operator (mirror and active commit).
    Ready,
    /// Paused while ready.
    Standby,
    /// Has done its work; waits for the jobs of its transaction.
    Waiting,
    /// Waits to be finalized.
    Pending,
    /// Failed or cancelled; cleans up.
    Aborting,
    /// Over; waits to be dismissed.
    Concluded,
    /// Gone.
    Null,
}

/// Every status, in the order of the tables below.
pub const STATUSES: [Status; 11] = [
    Status::Undefined,
    Status::Created,
    Status::Running,
    Status::Paused,
    Status::Ready,
    Status::Standby,
    Status::Waiting,
    Status::Pending,
    Status::Aborting,
    Status::Concluded,
    Status::Null,
];

/// What an operator may ask of a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verb {
    /// Stop without a result.
    Cancel,
    /// Stop at the next pause point.
    Pause,
    /// Carry on.
    Resume,
    /// Change the rate limit.
    SetSpeed,
    /// Leave `ready`.
    Complete,
    /// Leave `pending`.
    Finalize,
    /// Leave `concluded`.
    Dismiss,
    /// Change an option of a running job.
    Change,
}

/// Every verb, in the order of the table below.
pub const VERBS: [Verb; 8] = [
    Verb::Cancel,
    Verb::Pause,
    Verb::Resume,
    Verb::SetSpeed,
    Verb::Complete,
    Verb::Finalize,
    Verb::Dismiss,
    Verb::Change,
];

/// Which status may follow which: a row for each status before, a column for each after.
/// Source: the transition matrix of QEMU 10.0's jobs.
const TRANSITIONS: [&str; 11] = [
    //  U C R P Y S W D X E N
    /* U */ ". + . . . . . . . . .",
    /* C */ ". . + . . . . . + . +",
    /* R */ ". . . + + . + . + . .",
    /* P */ ". . + . . . . . . . .",
    /* Y */ ". . . . . + + . + . .",
    /* S */ ". . . . + . . . . . .",
    /* W */ ". . . . . . . + + . .",
    /* D */ ". . . . . . . . + + .",
    /* X */ ". . . . . . . . + + .",
    /* E */ ". . . . . . . . . . +",
    /* N */ ". . . . . . . . . . .",
];

/// Which verb a job accepts in which status: a row for each verb, a column for each status.
/// Source: the verb matrix of QEMU 10.0's jobs.
const ADMITTED: [&str; 8] = [
    //           U C R P Y S W D X E N
    /* cancel */ ". + + + + + + + . . .",
    /* pause  */ ". + + + + + . . . . .",
    /* resume */ ". + + + + + . . . . .",
    /* speed  */ ". + + + + + . . . . .",
    /* compl. */ ". . . . + + . . . . .",
    /* final. */ ". . . . . . . + . . .",
    /* dism.  */ ". . . . . . . . . + .",
    /* change */ ". + + + + + . . . . .",
];

fn marked(row: &str, column: usize) -> bool {
    row.as_bytes()[2 * column] == b'+'
}

impl Status {
    /// The word in events and texts.
    pub fn word(self) -> &'static str {
        match self {
            Status::Undefined => "undefined",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Ready => "ready",
            Status::Standby => "standby",
            Status::Waiting => "waiting",
            Status::Pending => "pending",
            Status::Aborting => "aborting",
            Status::Concluded => "concluded",
            Status::Null => "null",
        }
    }

    /// The status of that word.
    pub fn from_word(word: &str) -> Option<Status> {
        STATUSES.into_iter().find(|status| status.word() == word)
    }

    /// Whether the transition table allows `next` right after `self`.
    pub fn may_become(self, next: Status) -> bool {
        marked(TRANSITIONS[self as usize], next as usize)
    }

    /// Whether a job with this status takes a verb.
    pub fn admits(self, verb: Verb) -> bool {
        marked(ADMITTED[verb as usize], self as usize)
    }
}

impl Verb {
    /// The word in commands and refusals.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Cancel => "cancel",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::SetSpeed => "set-speed",
            Verb::Complete => "complete",
            Verb::Finalize => "finalize",
            Verb::Dismiss => "dismiss",
            Verb::Change => "change",
        }
    }
}

/// What a job does when a read or write fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OnError {
    /// End with the error.
    Report,
    /// Carry on, and fail at the end.
    Ignore,
    /// Pause for the operator if the disk is full, else end with the error.
    EnoSpc,
    /// Pause for the operator.
    Stop,
    /// As [`OnError::EnoSpc`].
    Auto,
}

impl OnError {
    /// The words of QMP, in the order of its schema.
    pub const WORDS: [&'static str; 5] = ["report", "ignore", "enospc", "stop", "auto"];

    /// The choice of that word.
    pub fn from_word(word: &str) -> Option<OnError> {
        let all = [OnError::Report, OnError::Ignore, OnError::EnoSpc, OnError::Stop, OnError::Auto];
        Self::WORDS.iter().position(|w| *w == word).map(|index| all[index])
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// Whether `BLOCK_JOB_ERROR` may name this action under this choice. The event does not carry the error; `no_space` says
    /// whether it was that the disk is full, as far as that is known.
    pub fn allows(self, action: ErrorAction, no_space: Option<bool>) -> bool {
        match (self, no_space) {
            (OnError::Report, _) | (OnError::EnoSpc | OnError::Auto, Some(false)) => {
                action == ErrorAction::Report
            }
            (OnError::Ignore, _) => action == ErrorAction::Ignore,
            (OnError::Stop, _) | (OnError::EnoSpc | OnError::Auto, Some(true)) => action == ErrorAction::Stop,
            (OnError::EnoSpc | OnError::Auto, None) => action != ErrorAction::Ignore,
        }
    }
}

/// What `query-block-jobs` says of the last error that stopped a job: the first since an operator last resumed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoStatus {
    /// There was none.
    Ok,
    /// There was one, and whether it was that the disk is full, as far as that is known.
    Error(Option<bool>),
}

impl IoStatus {
    /// The word for it, or the words.
    pub fn words(self) -> &'static str {
        match self {
            IoStatus::Ok => "ok",
            IoStatus::Error(Some(true)) => "nospace",
            IoStatus::Error(Some(false)) => "failed",
            IoStatus::Error(None) => "nospace or failed",
        }
    }

    /// Whether this is the word for it.
    pub fn fits(self, word: &str) -> bool {
        self.words().split(" or ").any(|fitting| fitting == word)
    }
}

/// What was done about an I/O error, as `BLOCK_JOB_ERROR` names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorAction {
    /// The job ends with it.
    Report,
    /// The job carries on and fails at the end.
    Ignore,
    /// The job pauses.
    Stop,
}

impl ErrorAction {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            ErrorAction::Report => "report",
            ErrorAction::Ignore => "ignore",
            ErrorAction::Stop => "stop",
        }
    }

    /// The action of that word.
    pub fn from_word(word: &str) -> Option<ErrorAction> {
        match word {
            "report" => Some(ErrorAction::Report),
            "ignore" => Some(ErrorAction::Ignore),
            "stop" => Some(ErrorAction::Stop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix<R: Copy>(
        rows: &[R],
        letter: impl Fn(R) -> String,
        allowed: impl Fn(R, Status) -> bool,
    ) -> String {
        let mut text = String::from("U C R P Y S W D X E N");
        for &row in rows {
            text.push_str(&format!("\n{}", letter(row)));
            for column in STATUSES {
                text.push_str(if allowed(row, column) { " +" } else { " ." });
            }
        }
        println!("{text}");
        text
    }

    #[test]
    fn transitions_are_those_of_qemu_10_and_no_others() {
        let pairs = [
            ("undefined", "created"),
            ("created", "running aborting null"),
            ("running", "paused ready waiting aborting"),
            ("paused", "running"),
            ("ready", "standby waiting aborting"),
            ("standby", "ready"),
            ("waiting", "pending aborting"),
            ("pending", "aborting concluded"),
            ("aborting", "aborting concluded"),
            ("concluded", "null"),
            ("null", ""),
        ];
        for (before, after) in pairs {
            let before = Status::from_word(before).unwrap();
            let found: Vec<&str> =
                STATUSES.into_iter().filter(|s| before.may_become(*s)).map(Status::word).collect();
            assert_eq!(found.join(" "), after, "after {before:?}");
        }
        let letter = |s: Status| s.word()[..1].to_uppercase();
        assert_eq!(matrix(&STATUSES, letter, |b, a| b.may_become(a)).matches('+').count(), 20);
    }

    #[test]
    fn verbs_are_admitted_where_qemu_10_admits_them() {
        let rows = [
            (Verb::Cancel, "created running paused ready standby waiting pending"),
            (Verb::Pause, "created running paused ready standby"),
            (Verb::Resume, "created running paused ready standby"),
            (Verb::SetSpeed, "created running paused ready standby"),
            (Verb::Complete, "ready standby"),
            (Verb::Finalize, "pending"),
            (Verb::Dismiss, "concluded"),
            (Verb::Change, "created running paused ready standby"),
        ];
        for (verb, admitted) in rows {
            let found: Vec<&str> =
                STATUSES.into_iter().filter(|s| s.admits(verb)).map(Status::word).collect();
            assert_eq!(found.join(" "), admitted, "{verb:?}");
        }
        assert_eq!(matrix(&VERBS, |v| v.word().into(), |v, s| s.admits(v)).matches('+').count(), 31);
    }

    #[test]
    fn every_status_but_null_leads_to_null_and_none_leads_back_to_undefined() {
        for status in STATUSES {
            let mut reached = vec![status];
            for step in 0.. {
                let Some(&from) = reached.get(step) else { break };
                let next = STATUSES.into_iter().filter(|s| from.may_become(*s));
                let fresh: Vec<Status> = next.filter(|s| !reached.contains(s)).collect();
                reached.extend(fresh);
            }
            assert!(reached.contains(&Status::Null), "{status:?} is a dead end");
            assert!(!reached[1..].contains(&Status::Undefined), "{status:?}");
        }
    }
}
