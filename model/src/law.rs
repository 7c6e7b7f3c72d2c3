//! Every law: a sentence as its name, and one of three kinds.
//!
//! An *always* law is checked at every observation it speaks about and broken by the first
//! that contradicts it. An *eventually* law is checked at the end of a run. A *sometimes* law is a
//! goal: it cannot be broken by a run, but a campaign that never reaches it has proved little.

mod reason;

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
    Always CopyTrue = "a copy is what its source was",
    Always DataHolds = "a command of unknown effect leaves the data alone",
    Always NoCorruption = "no image is corrupt after a crash",
    Always NoLeak = "a clean end leaks no cluster",
    Always ReaderAdmitted = "a guest is turned away only for a reason",
    Always Reply = "a reply is one QEMU would give",
    Always EventOrder = "events come in a job's order",
    Always EventFields = "an event tells the job as it is",
    Always StatusTable = "a job's status changes only along the table",
    Always Cause = "a job moves only for a cause",
    Always Progress = "progress never goes back and never passes the end",
    Always BoundedProgress = "a mirror gets in step, and ends once told to, however much guests write",
    Always RequestBound = "a guest's request is answered within a bound, whatever jobs do",
    Always SpaceReturned = "what a guest discards takes no space any more",
    Always BitmapCovers = "a dirty bitmap misses no change",
    Always AutoclearTrue = "no autoclear bit outlives a change of its image",
    Always ThresholdReported = "the first write past a write threshold is reported, once",
    Always SpeedHeld = "a job copies no faster than its speed",
    Always ModesTrue = "a file is open for writing only under a node that may write",
    Always SnapshotKept = "an internal snapshot keeps what it had",
    Always RotSeen = "wrong data is never silent where it can be checked",
    Always RotContained = "a disk that lies makes nobody write over metadata",
    Always GraphKept = "a cancelled or failed job leaves the graph as it was",
    Always OverlapRefused = "an overlapping job is refused",
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
    Sometimes OverlapSeenRefused = "an overlapping job is refused as busy",
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
    Sometimes EffectBeforeAnswer = "a command takes effect before it is answered",
    Sometimes GraphChangedBeforeEnd = "a job changes the graph before its end is told",
    Sometimes RestoredBeforeEnd = "what a job wrote turns read-only before its end is told",
    Sometimes CommitCompletes = "a commit of intermediate nodes completes",
    Sometimes ActiveCommitCompletes = "an active commit completes",
    Sometimes MirrorFullCompletes = "a mirror of everything completes",
    Sometimes MirrorTopCompletes = "a mirror of the top layer completes",
    Sometimes MirrorNothingCompletes = "a mirror of new writes only completes",
    Sometimes BackupFullCompletes = "a backup of everything completes",
    Sometimes BackupTopCompletes = "a backup of the top layer completes",
    Sometimes BackupBitmapCompletes = "a backup completes that copies what a bitmap says guests have changed",
    Sometimes BackupsTogether = "several backups of one transaction complete",
    Sometimes ReadyCompleted = "a ready job is completed and its target takes its place",
    Sometimes ReadySoftlyCancelled = "a ready job is cancelled softly and ends well",
    Sometimes CancelledReady = "a ready job is cancelled by force",
    Sometimes CommitCancelled = "a commit is cancelled",
    Sometimes MirrorCancelled = "a mirror is cancelled",
    Sometimes BackupCancelled = "a backup is cancelled",
    Sometimes StreamRefusedBusy = "a stream is refused by another job's blocker",
    Sometimes CommitRefusedBusy = "a commit is refused by another job's blocker",
    Sometimes MirrorRefusedBusy = "a mirror is refused by another job's blocker",
    Sometimes BackupRefusedBusy = "a backup is refused by another job's blocker",
    Sometimes JobTypesTogether = "jobs of any kind run side by side in one chain",
    Sometimes ReopenDone = "a node is reopened",
    Sometimes ReopenRefused = "a reopen is refused by a job",
    Sometimes SnapshotDone = "a snapshot puts an overlay on a node",
    Sometimes SnapshotRefused = "a snapshot is refused by a job",
    Sometimes ResizeDone = "an image is resized",
    Sometimes ResizeRefused = "a resize is refused by a job",
    Sometimes HeaderChanged = "a header is made to name another file",
    Sometimes WriteWhileCopying = "a guest writes while a mirror or a backup copies what it writes",
    Sometimes CrashWhileCommitting = "a crash strikes while a commit runs",
    Sometimes CrashWhileCopying = "a crash strikes while a mirror or a backup runs",
    Sometimes StreamBesideStreamAbove = "a stream is tried above a stream",
    Sometimes StreamBesideStreamBelow = "a stream is tried below a stream",
    Sometimes StreamBesideStreamAdjacent = "a stream is tried next to a stream",
    Sometimes StreamBesideStreamOverlapping = "a stream is tried overlapping a stream",
    Sometimes StreamBesideStreamIdentical = "a stream is tried on the nodes of a stream",
    Sometimes StreamBesideCommitAbove = "a stream is tried above a commit",
    Sometimes StreamBesideCommitBelow = "a stream is tried below a commit",
    Sometimes StreamBesideCommitAdjacent = "a stream is tried next to a commit",
    Sometimes StreamBesideCommitOverlapping = "a stream is tried overlapping a commit",
    Sometimes StreamBesideCommitIdentical = "a stream is tried on the nodes of a commit",
    Sometimes StreamBesideActiveCommitBelow = "a stream is tried below an active commit",
    Sometimes StreamBesideActiveCommitAdjacent = "a stream is tried next to an active commit",
    Sometimes StreamBesideActiveCommitOverlapping = "a stream is tried overlapping an active commit",
    Sometimes StreamBesideActiveCommitIdentical = "a stream is tried on the nodes of an active commit",
    Sometimes StreamBesideMirrorBelow = "a stream is tried below a mirror",
    Sometimes StreamBesideMirrorOverlapping = "a stream is tried overlapping a mirror",
    Sometimes StreamBesideMirrorIdentical = "a stream is tried on the nodes of a mirror",
    Sometimes StreamBesideBackupAbove = "a stream is tried above a backup",
    Sometimes StreamBesideBackupBelow = "a stream is tried below a backup",
    Sometimes StreamBesideBackupAdjacent = "a stream is tried next to a backup",
    Sometimes StreamBesideBackupOverlapping = "a stream is tried overlapping a backup",
    Sometimes StreamBesideBackupIdentical = "a stream is tried on the nodes of a backup",
    Sometimes CommitBesideStreamAbove = "a commit is tried above a stream",
    Sometimes CommitBesideStreamBelow = "a commit is tried below a stream",
    Sometimes CommitBesideStreamAdjacent = "a commit is tried next to a stream",
    Sometimes CommitBesideStreamOverlapping = "a commit is tried overlapping a stream",
    Sometimes CommitBesideStreamIdentical = "a commit is tried on the nodes of a stream",
    Sometimes CommitBesideCommitAbove = "a commit is tried above a commit",
    Sometimes CommitBesideCommitBelow = "a commit is tried below a commit",
    Sometimes CommitBesideCommitAdjacent = "a commit is tried next to a commit",
    Sometimes CommitBesideCommitOverlapping = "a commit is tried overlapping a commit",
    Sometimes CommitBesideCommitIdentical = "a commit is tried on the nodes of a commit",
    Sometimes CommitBesideActiveCommitBelow = "a commit is tried below an active commit",
    Sometimes CommitBesideActiveCommitAdjacent = "a commit is tried next to an active commit",
    Sometimes CommitBesideActiveCommitOverlapping = "a commit is tried overlapping an active commit",
    Sometimes CommitBesideMirrorBelow = "a commit is tried below a mirror",
    Sometimes CommitBesideBackupAbove = "a commit is tried above a backup",
    Sometimes CommitBesideBackupBelow = "a commit is tried below a backup",
    Sometimes CommitBesideBackupAdjacent = "a commit is tried next to a backup",
    Sometimes CommitBesideBackupOverlapping = "a commit is tried overlapping a backup",
    Sometimes CommitBesideBackupIdentical = "a commit is tried on the nodes of a backup",
    Sometimes ActiveCommitBesideStreamAbove = "an active commit is tried above a stream",
    Sometimes ActiveCommitBesideStreamAdjacent = "an active commit is tried next to a stream",
    Sometimes ActiveCommitBesideStreamOverlapping = "an active commit is tried overlapping a stream",
    Sometimes ActiveCommitBesideStreamIdentical = "an active commit is tried on the nodes of a stream",
    Sometimes ActiveCommitBesideCommitAbove = "an active commit is tried above a commit",
    Sometimes ActiveCommitBesideCommitAdjacent = "an active commit is tried next to a commit",
    Sometimes ActiveCommitBesideCommitOverlapping = "an active commit is tried overlapping a commit",
    Sometimes ActiveCommitBesideActiveCommitOverlapping = "an active commit is tried overlapping an active commit",
    Sometimes ActiveCommitBesideActiveCommitIdentical = "an active commit is tried on the nodes of an active commit",
    Sometimes ActiveCommitBesideMirrorOverlapping = "an active commit is tried overlapping a mirror",
    Sometimes ActiveCommitBesideMirrorIdentical = "an active commit is tried on the nodes of a mirror",
    Sometimes ActiveCommitBesideBackupAbove = "an active commit is tried above a backup",
    Sometimes ActiveCommitBesideBackupAdjacent = "an active commit is tried next to a backup",
    Sometimes ActiveCommitBesideBackupOverlapping = "an active commit is tried overlapping a backup",
    Sometimes ActiveCommitBesideBackupIdentical = "an active commit is tried on the nodes of a backup",
    Sometimes MirrorBesideStreamAbove = "a mirror is tried above a stream",
    Sometimes MirrorBesideStreamOverlapping = "a mirror is tried overlapping a stream",
    Sometimes MirrorBesideStreamIdentical = "a mirror is tried on the nodes of a stream",
    Sometimes MirrorBesideCommitAbove = "a mirror is tried above a commit",
    Sometimes MirrorBesideActiveCommitOverlapping = "a mirror is tried overlapping an active commit",
    Sometimes MirrorBesideActiveCommitIdentical = "a mirror is tried on the nodes of an active commit",
    Sometimes MirrorBesideMirrorIdentical = "a mirror is tried on the nodes of a mirror",
    Sometimes MirrorBesideBackupAbove = "a mirror is tried above a backup",
    Sometimes MirrorBesideBackupIdentical = "a mirror is tried on the nodes of a backup",
    Sometimes BackupBesideStreamAbove = "a backup is tried above a stream",
    Sometimes BackupBesideStreamBelow = "a backup is tried below a stream",
    Sometimes BackupBesideStreamAdjacent = "a backup is tried next to a stream",
    Sometimes BackupBesideStreamOverlapping = "a backup is tried overlapping a stream",
    Sometimes BackupBesideStreamIdentical = "a backup is tried on the nodes of a stream",
    Sometimes BackupBesideCommitAbove = "a backup is tried above a commit",
    Sometimes BackupBesideCommitBelow = "a backup is tried below a commit",
    Sometimes BackupBesideCommitAdjacent = "a backup is tried next to a commit",
    Sometimes BackupBesideCommitOverlapping = "a backup is tried overlapping a commit",
    Sometimes BackupBesideCommitIdentical = "a backup is tried on the nodes of a commit",
    Sometimes BackupBesideActiveCommitBelow = "a backup is tried below an active commit",
    Sometimes BackupBesideActiveCommitAdjacent = "a backup is tried next to an active commit",
    Sometimes BackupBesideActiveCommitOverlapping = "a backup is tried overlapping an active commit",
    Sometimes BackupBesideActiveCommitIdentical = "a backup is tried on the nodes of an active commit",
    Sometimes BackupBesideMirrorBelow = "a backup is tried below a mirror",
    Sometimes BackupBesideMirrorIdentical = "a backup is tried on the nodes of a mirror",
    Sometimes BackupBesideBackupAbove = "a backup is tried above a backup",
    Sometimes BackupBesideBackupBelow = "a backup is tried below a backup",
    Sometimes BackupBesideBackupIdentical = "a backup is tried on the nodes of a backup",
}

/// The goals that two jobs meet: for each type of job that starts, each that runs, and each way their regions lie, in the order
/// of [`crate::command::plan::JOB_TYPES`] and of relations: above, below, next to, overlapping, the same. Where two cannot lie so, none.
#[rustfmt::skip]
pub const PAIRS: [[[Option<LawId>; 5]; 5]; 5] = [
    [
        [Some(LawId::StreamBesideStreamAbove), Some(LawId::StreamBesideStreamBelow), Some(LawId::StreamBesideStreamAdjacent), Some(LawId::StreamBesideStreamOverlapping), Some(LawId::StreamBesideStreamIdentical)],
        [Some(LawId::StreamBesideCommitAbove), Some(LawId::StreamBesideCommitBelow), Some(LawId::StreamBesideCommitAdjacent), Some(LawId::StreamBesideCommitOverlapping), Some(LawId::StreamBesideCommitIdentical)],
        [None, Some(LawId::StreamBesideActiveCommitBelow), Some(LawId::StreamBesideActiveCommitAdjacent), Some(LawId::StreamBesideActiveCommitOverlapping), Some(LawId::StreamBesideActiveCommitIdentical)],
        [None, Some(LawId::StreamBesideMirrorBelow), None, Some(LawId::StreamBesideMirrorOverlapping), Some(LawId::StreamBesideMirrorIdentical)],
        [Some(LawId::StreamBesideBackupAbove), Some(LawId::StreamBesideBackupBelow), Some(LawId::StreamBesideBackupAdjacent), Some(LawId::StreamBesideBackupOverlapping), Some(LawId::StreamBesideBackupIdentical)],
    ],
    [
        [Some(LawId::CommitBesideStreamAbove), Some(LawId::CommitBesideStreamBelow), Some(LawId::CommitBesideStreamAdjacent), Some(LawId::CommitBesideStreamOverlapping), Some(LawId::CommitBesideStreamIdentical)],
        [Some(LawId::CommitBesideCommitAbove), Some(LawId::CommitBesideCommitBelow), Some(LawId::CommitBesideCommitAdjacent), Some(LawId::CommitBesideCommitOverlapping), Some(LawId::CommitBesideCommitIdentical)],
        [None, Some(LawId::CommitBesideActiveCommitBelow), Some(LawId::CommitBesideActiveCommitAdjacent), Some(LawId::CommitBesideActiveCommitOverlapping), None],
        [None, Some(LawId::CommitBesideMirrorBelow), None, None, None],
        [Some(LawId::CommitBesideBackupAbove), Some(LawId::CommitBesideBackupBelow), Some(LawId::CommitBesideBackupAdjacent), Some(LawId::CommitBesideBackupOverlapping), Some(LawId::CommitBesideBackupIdentical)],
    ],
    [
        [Some(LawId::ActiveCommitBesideStreamAbove), None, Some(LawId::ActiveCommitBesideStreamAdjacent), Some(LawId::ActiveCommitBesideStreamOverlapping), Some(LawId::ActiveCommitBesideStreamIdentical)],
        [Some(LawId::ActiveCommitBesideCommitAbove), None, Some(LawId::ActiveCommitBesideCommitAdjacent), Some(LawId::ActiveCommitBesideCommitOverlapping), None],
        [None, None, None, Some(LawId::ActiveCommitBesideActiveCommitOverlapping), Some(LawId::ActiveCommitBesideActiveCommitIdentical)],
        [None, None, None, Some(LawId::ActiveCommitBesideMirrorOverlapping), Some(LawId::ActiveCommitBesideMirrorIdentical)],
        [Some(LawId::ActiveCommitBesideBackupAbove), None, Some(LawId::ActiveCommitBesideBackupAdjacent), Some(LawId::ActiveCommitBesideBackupOverlapping), Some(LawId::ActiveCommitBesideBackupIdentical)],
    ],
    [
        [Some(LawId::MirrorBesideStreamAbove), None, None, Some(LawId::MirrorBesideStreamOverlapping), Some(LawId::MirrorBesideStreamIdentical)],
        [Some(LawId::MirrorBesideCommitAbove), None, None, None, None],
        [None, None, None, Some(LawId::MirrorBesideActiveCommitOverlapping), Some(LawId::MirrorBesideActiveCommitIdentical)],
        [None, None, None, None, Some(LawId::MirrorBesideMirrorIdentical)],
        [Some(LawId::MirrorBesideBackupAbove), None, None, None, Some(LawId::MirrorBesideBackupIdentical)],
    ],
    [
        [Some(LawId::BackupBesideStreamAbove), Some(LawId::BackupBesideStreamBelow), Some(LawId::BackupBesideStreamAdjacent), Some(LawId::BackupBesideStreamOverlapping), Some(LawId::BackupBesideStreamIdentical)],
        [Some(LawId::BackupBesideCommitAbove), Some(LawId::BackupBesideCommitBelow), Some(LawId::BackupBesideCommitAdjacent), Some(LawId::BackupBesideCommitOverlapping), Some(LawId::BackupBesideCommitIdentical)],
        [None, Some(LawId::BackupBesideActiveCommitBelow), Some(LawId::BackupBesideActiveCommitAdjacent), Some(LawId::BackupBesideActiveCommitOverlapping), Some(LawId::BackupBesideActiveCommitIdentical)],
        [None, Some(LawId::BackupBesideMirrorBelow), None, None, Some(LawId::BackupBesideMirrorIdentical)],
        [Some(LawId::BackupBesideBackupAbove), Some(LawId::BackupBesideBackupBelow), None, None, Some(LawId::BackupBesideBackupIdentical)],
    ],
];

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
