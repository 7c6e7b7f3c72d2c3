//! What a defect does to whoever relies on the daemon: by this a list of defects is ordered.

use std::fmt;

/// The harm that a defect does, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Harm {
    /// A reader gets the daemon's memory, or data that belongs elsewhere.
    Discloses,
    /// A reader or a copy gets wrong data, with success.
    WrongData,
    /// An image is damaged: what is written next may destroy other data.
    Damages,
    /// A crash loses data that was durable.
    LosesAtACrash,
    /// The daemon ends, and with it everybody's device.
    Crashes,
    /// The daemon, a job or a client waits or works without end.
    Hangs,
    /// A request or a job fails though nothing is wrong.
    Denies,
    /// Space of a file is lost.
    Leaks,
    /// What is said of nodes and jobs, or written into a header, is not true.
    Misreports,
}

impl Harm {
    /// Every one.
    pub const ALL: [Harm; 9] = [
        Harm::Discloses,
        Harm::WrongData,
        Harm::Damages,
        Harm::LosesAtACrash,
        Harm::Crashes,
        Harm::Hangs,
        Harm::Denies,
        Harm::Leaks,
        Harm::Misreports,
    ];

    /// What files call it.
    pub fn word(self) -> &'static str {
        match self {
            Harm::Discloses => "discloses",
            Harm::WrongData => "wrong-data",
            Harm::Damages => "damages",
            Harm::LosesAtACrash => "loses-at-a-crash",
            Harm::Crashes => "crashes",
            Harm::Hangs => "hangs",
            Harm::Denies => "denies",
            Harm::Leaks => "leaks",
            Harm::Misreports => "misreports",
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Harm::Discloses => "a reader gets memory or others' data",
            Harm::WrongData => "wrong data, with success",
            Harm::Damages => "the image is damaged",
            Harm::LosesAtACrash => "durable data is lost at a crash",
            Harm::Crashes => "the daemon ends",
            Harm::Hangs => "something never ends",
            Harm::Denies => "requests or jobs fail",
            Harm::Leaks => "space of the file is lost",
            Harm::Misreports => "what is reported is not true",
        })
    }
}
