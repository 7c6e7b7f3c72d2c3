//! Why a run is not judged any further, or only what guests read.

/// What the model cannot follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inconclusive {
    /// More states explain the run than are kept, or looked at.
    States,
    /// More requests were on their way when the graph was edited than there are orders of them that are followed.
    Requests,
    /// A guest wrote the raw bytes of a format.
    WrittenRaw,
    /// An overlay was put on the raw bytes of a format.
    SnapshotOfRaw,
    /// A job copies the raw bytes of a format.
    CopyOfRaw,
    /// An image was to stand on itself: two nodes have one file.
    StandsOnItself,
    /// A link past a commit's filter was changed, which must be refused.
    ReopenedPastCommit,
    /// A mirror writes into the chain that it copies, which must be refused.
    MirroredIntoOwnChain,
    /// A command of unknown effect has succeeded.
    UnknownEffect,
}

impl std::fmt::Display for Inconclusive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Inconclusive::States => "too many orders of what nobody saw explain the run",
            Inconclusive::Requests => "the graph was edited under too many requests of guests",
            Inconclusive::WrittenRaw => "a guest wrote the raw bytes of a format",
            Inconclusive::SnapshotOfRaw => "an overlay was put on the raw bytes of a format",
            Inconclusive::CopyOfRaw => "a job copies the raw bytes of a format",
            Inconclusive::StandsOnItself => "an image stands on itself: two nodes have one file",
            Inconclusive::ReopenedPastCommit => "a link past a commit's filter was changed",
            Inconclusive::MirroredIntoOwnChain => "a mirror writes into the chain that it copies",
            Inconclusive::UnknownEffect => {
                "a command of unknown effect has succeeded; only what guests read is judged"
            }
        })
    }
}
