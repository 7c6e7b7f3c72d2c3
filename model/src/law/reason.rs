//! What each law is called in short, and why it is a law.

use super::LawId;

impl LawId {
    /// A short name that stays when its sentence is put better: what the law is about, and what it says of that. Goals have
    /// none.
    pub fn identifier(self) -> Option<&'static str> {
        self.reason().map(|(identifier, _)| identifier)
    }

    /// Why it is a law: what somebody relies on. Goals have no reason of their own.
    pub fn why(self) -> Option<&'static str> {
        self.reason().map(|(_, why)| why)
    }

    fn reason(self) -> Option<(&'static str, &'static str)> {
        let of_data = self.reason_about_data();
        of_data.or_else(|| self.reason_about_jobs()).or_else(|| self.reason_about_the_graph())
    }

    fn reason_about_data(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            LawId::GuestReads => (
                "read.written",
                "a disk gives back what was written to it; a job on its chain changes nothing of that",
            ),
            LawId::StreamUnseen => (
                "stream.guest-view",
                "block-stream moves data between layers under running guests, who must not see where it lies",
            ),
            LawId::FlushedSurvives => (
                "crash.durable",
                "a flush that ended well promises that all that ended before it is there after any crash: file systems \
                 and databases build on it",
            ),
            LawId::ChainOnDisk => (
                "crash.chain",
                "after a crash images are opened by what their headers name, so a header may only name a file that has \
                 all that its readers need",
            ),
            LawId::CopyTrue => (
                "copy.content",
                "a mirror takes its source's place, a backup is restored, and a committed base is all that is left",
            ),
            LawId::DataHolds => (
                "data.unknown-command",
                "what a command does need not be known to hold guests' data against it",
            ),
            LawId::NoCorruption => (
                "crash.consistent",
                "tables that contradict each other lose data later, far from where it went wrong",
            ),
            LawId::NoLeak => ("image.leak", "a clean end has the time to give back what nobody uses"),
            LawId::SpaceReturned => (
                "image.space",
                "guests discard so that the host gets space back; what stays in the file may also be read by others",
            ),
            LawId::RotSeen => (
                "rot.seen",
                "disks rot; an image's tables can be checked against each other, and whoever checks them wants to know",
            ),
            LawId::RotContained => (
                "rot.contained",
                "one wrong bit must not become a lost image: what is known to be a table is never written as data",
            ),
            LawId::NoFaultNoFailure => (
                "request.failure",
                "an error that no disk reported makes a guest stop or remount read-only for nothing",
            ),
            LawId::RequestBound => {
                ("request.bound", "a guest that waits for minutes resets its disk, or is reset")
            }
            LawId::RequestsEnd => ("request.end", "a guest whose request never ends hangs"),
            _ => return None,
        })
    }

    fn reason_about_jobs(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            LawId::Reply => (
                "command.reply",
                "management software acts on what it is answered: success, the class of an error, and its text",
            ),
            LawId::CommandsAnswered => {
                ("command.answer", "who waits for an answer for ever manages nothing any more")
            }
            LawId::QueryTruth => (
                "query.truth",
                "management software that was away learns from queries what happened, and from nothing else",
            ),
            LawId::EventOrder => {
                ("event.order", "software that follows a job by its events has to see each once, in turn")
            }
            LawId::EventFields => {
                ("event.fields", "an event names the job, its type, its error and how far it came")
            }
            LawId::StatusTable => {
                ("job.status", "the table of statuses and verbs is the promise of the job commands")
            }
            LawId::Cause => {
                ("job.cause", "a job that pauses, fails or vanishes by itself surprises whoever manages it")
            }
            LawId::Progress => {
                ("job.progress", "whoever waits for a job judges by its progress how long it takes")
            }
            LawId::BoundedProgress => {
                ("job.bound", "a migration that never gets in step with a busy guest never happens")
            }
            LawId::JobsEnd => {
                ("job.end", "a job that never ends keeps its nodes, and whoever waits for it, for ever")
            }
            _ => return None,
        })
    }

    fn reason_about_the_graph(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            LawId::ReaderAdmitted => {
                ("guest.admitted", "a guest that is turned away without a reason does not start after a move")
            }
            LawId::WriterRefused => (
                "guest.writer",
                "two writers of one image, or one beside a job that relies on it, lose each other's data",
            ),
            LawId::BitmapCovers => (
                "bitmap.covers",
                "what a bitmap misses is missing from every incremental backup that is made with it",
            ),
            LawId::AutoclearTrue => (
                "image.autoclear",
                "who knows the feature relies on what it says, as on bitmaps that miss what somebody else wrote",
            ),
            LawId::SnapshotKept => {
                ("snapshot.kept", "whoever goes back to a snapshot wants what was there when it was made")
            }
            LawId::ThresholdReported => (
                "threshold.once",
                "whoever gives an image more space when it fills up has to learn of it in time",
            ),
            LawId::SpeedHeld => {
                ("job.speed", "a job that takes more than it was given takes it from the guests beside it")
            }
            LawId::ModesTrue => (
                "node.mode",
                "a file that stays open for writing keeps others from it, and one that is closed to a writer fails its guests",
            ),
            LawId::OverlapRefused => (
                "blocker.overlap",
                "two jobs on the same layers each do to them what the other does not expect",
            ),
            LawId::GraphKept => {
                ("graph.kept", "whoever cancels a job wants the chain as it was, and tries again")
            }
            LawId::DroppedGone => (
                "graph.dropped",
                "a node that nobody can name still holds its file open, and keeps others from it",
            ),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::law::{Kind, LAWS};
    use std::collections::BTreeSet;

    #[test]
    fn every_law_and_no_goal_has_an_identifier_of_its_own_and_a_reason() {
        let is_law = |law: &crate::law::LawId| law.kind() != Kind::Sometimes;
        let laws = LAWS.into_iter().filter(is_law);
        let identifiers: BTreeSet<&str> =
            laws.clone().map(|law| law.identifier().unwrap_or_else(|| panic!("{law:?}"))).collect();
        assert_eq!(identifiers.len(), laws.clone().count(), "{identifiers:?}");
        assert!(laws.clone().all(|law| law.why().is_some_and(|why| !why.is_empty())));
        assert!(LAWS.into_iter().filter(|law| !is_law(law)).all(|goal| goal.identifier().is_none()));
    }
}
