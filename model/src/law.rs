//! Every law: a sentence as its name, and one of three kinds.
//!
//! An *always* law is checked at every observation it speaks about and broken by the first
//! that contradicts it. An *eventually* law is checked at the end of a run. A *sometimes* law is a
//! goal: it cannot be broken by a run, but a campaign that never reaches it has proved little.

/// How a law is judged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Holds at every moment.
    Always,
    /// Holds once the run is over.
    Eventually,
    /// Must be reached by some run.
    Sometimes,
}

macro_rules! laws {
    ($( $kind:ident $name:ident = $sentence:literal, )*) => {
        /// A law, by name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum LawId {
            $( #[doc = $sentence] $name, )*
        }

        /// Every law, in the order of its index.
        pub const LAWS: [LawId; LAW_COUNT] = [ $( LawId::$name, )* ];

        /// How many laws there are.
        pub const LAW_COUNT: usize = [ $( LawId::$name, )* ].len();

        impl LawId {
            /// The law as a sentence: how failures, documents and traces name it.
            pub fn name(self) -> &'static str {
                match self { $( LawId::$name => $sentence, )* }
            }

            /// How it is judged.
            pub fn kind(self) -> Kind {
                match self { $( LawId::$name => Kind::$kind, )* }
            }
        }
    };
}

laws! {
    Always GuestReads = "a guest reads only what was written there",
    Always StreamUnseen = "stream never changes what the guest reads",
    Always FlushedSurvives = "what was flushed survives a crash",
    Always ChainOnDisk = "the chain on disk shows the same view after a crash",
    Always NoCorruption = "no image is corrupt after a crash",
    Always NoLeak = "a clean end leaks no cluster",
    Always ReaderAdmitted = "a guest is turned away only for a reason",
    Always Reply = "a reply is one QEMU would give",
    Always EventOrder = "events come in a job's order",
    Always EventFields = "an event tells the job as it is",
    Always StatusTable = "a job's status changes only along the table",
    Always Cause = "a job moves only for a cause",
    Always Progress = "progress never goes back and never passes the end",
    Always GraphKept = "a cancelled or failed job leaves the graph as it was",
    Always OverlapRefused = "an overlapping stream is refused",
    Always NoFaultNoFailure = "no request fails without a fault",
    Always DroppedGone = "a dropped node is gone",
    Always QueryTruth = "a query tells nodes and jobs as they are",
    Always WriterRefused = "a writer is refused where a job forbids one",
    Eventually JobsEnd = "every job ends",
    Eventually CommandsAnswered = "every command is answered",
    Eventually RequestsEnd = "every guest request ends",
    Sometimes StreamActiveCompletes = "a stream into the active layer completes",
    Sometimes StreamIntermediateCompletes = "a stream into an intermediate node completes",
    Sometimes StreamWithBase = "a stream is started with base",
    Sometimes StreamWithBaseNode = "a stream is started with base-node",
    Sometimes StreamWithBottom = "a stream is started with bottom",
    Sometimes StreamWithoutBase = "a stream is started without a base",
    Sometimes OverlapSeenRefused = "an overlapping stream is refused as busy",
    Sometimes TwoStreamsOneChain = "two streams run in one chain at once",
    Sometimes JobPaused = "a job is paused by an operator",
    Sometimes JobResumed = "a paused job is resumed",
    Sometimes CancelledRunning = "a job is cancelled while running",
    Sometimes CancelledPaused = "a job is cancelled while paused",
    Sometimes CancelledPending = "a job is cancelled in pending",
    Sometimes FinalizedByHand = "a job is finalized by hand",
    Sometimes DismissedByHand = "a job is dismissed by hand",
    Sometimes SpeedChanged = "a job's speed is changed",
    Sometimes ErrorReported = "an I/O error is reported and ends a job",
    Sometimes ErrorIgnored = "an I/O error is ignored and fails a job at its end",
    Sometimes ErrorStopped = "an I/O error stops a job",
    Sometimes StoppedResumed = "a job stopped by an error is resumed",
    Sometimes FinalizeFailed = "a job fails while it is finalized",
    Sometimes ReadOnlyTarget = "a read-only target is reopened for a job",
    Sometimes WriteWhileStreaming = "a guest writes while a job runs",
    Sometimes WriteMeetsCopy = "a guest write and a copy touch the same cluster",
    Sometimes GuestFlushed = "a guest flush completes after a write",
    Sometimes ConcurrentWrites = "two guest writes to one sector overlap in time",
    Sometimes CrashWhileRunning = "a crash strikes while a job runs",
    Sometimes CrashAfterCompletion = "a crash strikes after a job has completed",
    Sometimes NoOpStream = "a stream with nothing to copy completes",
    Sometimes ShortLayerStreamed = "a layer shorter than the target is streamed",
    Sometimes NameRefused = "a bad node name or job id is refused",
    Sometimes InputRefused = "bad input is refused",
    Sometimes VerbRefused = "a verb is refused in the job's state",
    Sometimes NodeDeleted = "a node is deleted while a job lives",
}

impl LawId {
    /// The law's place in every table about laws.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How often each law was checked, or each goal reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    counts: [u64; LAW_COUNT],
}

impl Default for Tally {
    fn default() -> Self {
        Tally { counts: [0; LAW_COUNT] }
    }
}

impl Tally {
    /// One more check of a law, or one more arrival at a goal.
    pub fn count(&mut self, law: LawId) {
        self.counts[law.index()] += 1;
    }

    /// How often a law was checked, or a goal reached.
    pub fn of(&self, law: LawId) -> u64 {
        self.counts[law.index()]
    }

    /// The counts by law index; goals are in it too, see [`LawId::kind`].
    pub fn counts(&self) -> &[u64; LAW_COUNT] {
        &self.counts
    }

    /// Adds what another run counted.
    pub fn merge(&mut self, other: &Tally) {
        for (sum, more) in self.counts.iter_mut().zip(&other.counts) {
            *sum += more;
        }
    }

    /// The laws that were never checked and the goals that were never reached: a campaign with any has proved little.
    pub fn vacuous(&self) -> impl Iterator<Item = LawId> + '_ {
        LAWS.into_iter().filter(|law| self.of(*law) == 0)
    }
}

/// A law, broken: the verdict of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which law.
    pub law: LawId,
    /// What was expected and what was found, where; the chain and its jobs below.
    pub detail: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "law `{}`: {}", self.law.name(), self.detail)
    }
}

impl std::error::Error for Broken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_law_has_its_own_sentence_and_its_own_index() {
        for (index, law) in LAWS.into_iter().enumerate() {
            assert_eq!(law.index(), index, "{law:?}");
            let namesakes = LAWS.into_iter().filter(|l| l.name() == law.name()).count();
            assert_eq!(namesakes, 1, "{}", law.name());
        }
    }

    #[test]
    fn merged_tallies_add_up_and_name_what_is_missing() {
        let (mut sum, mut run) = (Tally::default(), Tally::default());
        run.count(LawId::Reply);
        sum.merge(&run);
        sum.merge(&run);
        assert_eq!(sum.of(LawId::Reply), 2);
        assert_eq!(sum.vacuous().count(), LAW_COUNT - 1);
        assert!(sum.vacuous().all(|law| law != LawId::Reply));
    }
}
