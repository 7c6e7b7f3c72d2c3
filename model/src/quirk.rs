//! Where QEMU is wrong: a closed list of alternatives that the specification does not allow, and a judge may.
//!
//! A quirk is the twin of a [`crate::Rule`]: it stands at one place of the code or very few, which ask `State::has`, and is
//! off unless a judge is made [`crate::Judge::with`] it. A run that nothing right explains, and these do, is known. Where a
//! quirk mars data it does so to the smallest set of sectors for the shortest time that is true.

mod fault;
mod set;

use crate::harm::Harm;
use crate::release::Release;
pub(crate) use set::Quirks;

/// In every release that was looked into.
const ALL: &[Release] = &Release::ALL;
/// Before a change that came with 10.0.13.
const BEFORE_10_0_13: &[Release] = &[Release::V10_0_2];
/// Since a change that came with 10.0.13.
const SINCE_10_0_13: &[Release] = &[Release::V10_0_13, Release::V11_1_3];

/// What is known of a quirk.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct About {
    /// Its short name.
    pub name: &'static str,
    /// The name it had in the list that was known before any search began; empty if it was not on it.
    pub id: &'static str,
    /// What it does to others.
    pub harm: Harm,
    /// What QEMU does.
    pub what: &'static str,
    /// What is right instead.
    pub right: &'static str,
    /// The releases of QEMU that were seen to do it.
    pub releases: &'static [Release],
    /// A short trace of it, by file name in `traces/live/`; empty if it shows only beside others.
    pub trace: &'static str,
    /// Its trace shows it at least once in so many times: more than a few, if it depends on timing.
    pub tries: u32,
    /// How long a campaign searched until it met it.
    pub found_after_seconds: Option<f64>,
}

macro_rules! quirks {
    ($( $name:ident { name: $short:literal, id: $id:literal, harm: $harm:expr, releases: $releases:expr, what: $what:literal, right: $right:literal,
        trace: $trace:literal, tries: $tries:literal, found_after_seconds: $found:expr, } )*) => {
        /// A quirk, by name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Quirk {
            $( #[doc = $what] $name, )*
        }

        /// Every quirk: where two explain the same, the earlier one is preferred.
        pub const QUIRKS: [Quirk; QUIRK_COUNT] = [ $( Quirk::$name, )* ];

        /// How many there are.
        pub const QUIRK_COUNT: usize = [ $( Quirk::$name, )* ].len();

        impl Quirk {
            /// What is known of it.
            pub const fn about(self) -> About {
                match self {
                    $( Quirk::$name => About {
                        name: $short, id: $id, harm: $harm, releases: $releases, what: $what, right: $right, trace: $trace,
                        tries: $tries, found_after_seconds: $found,
                    }, )*
                }
            }
        }
    };
}

quirks! {
    ShortLayerReadsBase {
        name: "short-layer", id: "Q2", harm: Harm::WrongData, releases: ALL,
        what: "a stream onto a base ends early at the end of a short layer directly below the target, and base data shows",
        right: "what lies past the end of a short layer reads as zeroes, before and after",
        trace: "short-layer.json", tries: 5, found_after_seconds: Some(33.2),
    }
    ShortLayerReadsMemory {
        name: "short-layer-memory", id: "", harm: Harm::Discloses, releases: ALL,
        what: "while a stream runs, whoever reads past the end of a layer directly below its target, a guest or another job, gets success and whatever was in the daemon's memory; a write of part of a cluster makes that lasting",
        right: "what lies past the end of a short layer reads as zeroes, before, during and after the stream",
        trace: "short-layer-memory.json", tries: 5, found_after_seconds: Some(26.3),
    }
    ShortCommitShowsBase {
        name: "short-commit", id: "Q3", harm: Harm::WrongData, releases: ALL,
        what: "a commit of a short layer into a longer base lets base data show past the layer's end",
        right: "what lies past the end of a short layer reads as zeroes, before and after",
        trace: "short-commit.json", tries: 5, found_after_seconds: Some(28.9),
    }
    StreamReadErrorReadsMemory {
        name: "stream-read-error-memory", id: "", harm: Harm::Discloses, releases: ALL,
        what: "while a stream runs, whoever reads what the tables of the target would show and they cannot be read, a guest or another job, gets success and whatever was in the daemon's memory: a backup completes with it",
        right: "the read fails with the error that the file gave",
        trace: "stream-read-error-memory.json", tries: 5, found_after_seconds: Some(230.4),
    }
    FailedHeaderChangesGraph {
        name: "half-finalize", id: "Q5", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a header write that fails at the end of a stream leaves the chain in memory changed, and the header on disk as it was",
        right: "the graph changes only after the header is written and flushed",
        trace: "half-finalize.json", tries: 5, found_after_seconds: Some(32.8),
    }
    ReusedClusterShows {
        name: "reused-cluster", id: "", harm: Harm::Discloses, releases: ALL,
        what: "a cluster that was given up is written anew before the tables that still point to it, so after a crash the data of one sector shows in another",
        right: "what is given up is used again only when nothing on the disk points to it any more",
        trace: "reused-cluster.json", tries: 5, found_after_seconds: Some(5.9),
    }
    HeaderIsTorn {
        name: "torn-header", id: "", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a header with the name of a backing file beyond its first sector is overwritten in place, so a power cut leaves half a name and an image that nobody can open",
        right: "a header is changed in one sector, or the old name stays whole until the new one is durable",
        trace: "torn-header.json", tries: 5, found_after_seconds: Some(33.0),
    }
    HeaderNotDurable {
        name: "header-not-durable", id: "", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a stream or a commit is completed before the header that it rewrote is durable, so a power cut brings the old chain back",
        right: "the header is flushed before completion is reported",
        trace: "header-not-durable.json", tries: 5, found_after_seconds: Some(1.1),
    }
    StreamFlushErrorLost {
        name: "stream-flush-error-lost", id: "", harm: Harm::LosesAtACrash, releases: SINCE_10_0_13,
        what: "the flush of what a stream copied fails, and the stream rewrites the header all the same and completes without an error: a kill loses data that was durable before",
        right: "a stream that cannot make durable what it copied fails, and the header stays as it was",
        trace: "stream-flush-error-lost.json", tries: 5, found_after_seconds: Some(66.7),
    }
    StreamDoesNotFlush {
        name: "no-flush", id: "Q7", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a stream rewrites the header without a flush of what it copied, so a kill loses data that was durable before; since 10.0.13 a flush follows when the job is dismissed, after the header",
        right: "data and metadata are flushed before the header, and the header before completion is reported",
        trace: "no-flush.json", tries: 5, found_after_seconds: Some(31.9),
    }
    CommitDoesNotFlush {
        name: "no-flush-commit", id: "", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a commit makes the overlay's header name the base without a flush of what it copied there, so a kill loses data that was durable before",
        right: "the base is flushed before the header of the overlay names it",
        trace: "no-flush-commit.json", tries: 5, found_after_seconds: Some(28.7),
    }
    BackupDoesNotFlush {
        name: "no-flush-backup", id: "", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a backup reports its completion without a flush of its target, so a kill of the daemon right after it loses the copy",
        right: "the target is flushed before completion is reported: a backup that is complete is there",
        trace: "no-flush-backup.json", tries: 5, found_after_seconds: Some(30.2),
    }
    GrowsBeforeZeroes {
        name: "grown-base-shows-below", id: "", harm: Harm::WrongData, releases: ALL,
        what: "a commit that makes its base longer has the new length on the disk before the zeroes that hide what lies below it, so a crash shows that",
        right: "the length is never without the zeroes",
        trace: "grown-base-shows-below.json", tries: 5, found_after_seconds: Some(17.9),
    }
    MirrorIsBypassed {
        name: "mirror-bypassed", id: "", harm: Harm::WrongData, releases: ALL,
        what: "what a guest writes through an export put on the source after a mirror or an active commit began goes past the job, and the target ends without it",
        right: "every write to the source reaches the target before the job is completed, or the second writer is refused",
        trace: "mirror-bypassed.json", tries: 5, found_after_seconds: Some(0.2),
    }
    BackupIsBypassed {
        name: "backup-bypassed", id: "", harm: Harm::WrongData, releases: ALL,
        what: "an active commit of a backup's source admits a second writer below the backup's filter: what it overwrites is not saved, so the backup has data from after its start; if the writer is still there when the commit's filter leaves, the process aborts",
        right: "what was there at the backup's start is saved before any writer changes it, or the second writer is refused",
        trace: "", tries: 5, found_after_seconds: None,
    }
    MirrorPassesItsEnd {
        name: "mirror-progress", id: "", harm: Harm::Misreports, releases: ALL,
        what: "query-block-jobs reports a mirror's offset past its len, where its granularity is finer than the clusters of the target",
        right: "the offset never passes the len",
        trace: "mirror-progress.json", tries: 5, found_after_seconds: Some(40.7),
    }
    RefusedReopenBreaksWrites {
        name: "refused-reopen-breaks-writes", id: "", harm: Harm::Denies, releases: ALL,
        what: "a blockdev-reopen to read-only that is refused leaves an image with a persistent bitmap as if it were read-only: whoever writes it then, a guest or a commit, fails",
        right: "a refused reopen changes nothing",
        trace: "refused-reopen-breaks-writes.json", tries: 5, found_after_seconds: Some(7.9),
    }
    ShrunkDataReturns {
        name: "shrunk-data-returns", id: "", harm: Harm::WrongData, releases: ALL,
        what: "an image that was made shorter within a cluster, and longer again, shows what it held there before",
        right: "what a longer image has more than before reads as zeroes",
        trace: "shrunk-data-returns.json", tries: 5, found_after_seconds: Some(137.3),
    }
    FailedSnapshotLeaks {
        name: "failed-snapshot-leaks", id: "", harm: Harm::Leaks, releases: ALL,
        what: "an internal snapshot that is refused, as where refcounts have one bit, leaves the clusters counted that it had taken for its L1 table; one that an error of its disk makes fail also counts data twice that tables call theirs alone",
        right: "a command that is refused gives back what it has taken",
        trace: "failed-snapshot-leaks.json", tries: 5, found_after_seconds: Some(98.5),
    }
    FailedWriteZeroes {
        name: "failed-write-zeroes", id: "", harm: Harm::WrongData, releases: ALL,
        what: "a write over a data cluster and a zero cluster next to it, or over such parts of one cluster with extended L2 entries, first makes both zero: a reader beside it sees zeroes, and if it then fails, or the daemon is killed, what was written there before is gone",
        right: "whether a write is under way, is cut off or fails, each of its sectors is as it was or as it was to be",
        trace: "failed-write-zeroes.json", tries: 5, found_after_seconds: Some(60.4),
    }
    DiscardUnderWriteCorrupts {
        name: "discard-under-write", id: "", harm: Harm::Damages, releases: BEFORE_10_0_13,
        what: "a guest discards a cluster that another guest's write has just been given: the cluster is free, and the table points to it all the same, so that the next one who gets it writes over the first one's data",
        right: "of two requests at once, either may come last; the image stays sound",
        trace: "discard-under-write.json", tries: 5, found_after_seconds: Some(18.1),
    }
    FlushErrorCorrupts {
        name: "flush-error-corrupts", id: "", harm: Harm::Damages, releases: ALL,
        what: "a cluster is written and discarded while flushes of the file fail: the refcount goes down in the file and the table still points to the cluster, though every request of the guest succeeded",
        right: "no refcount goes down before the table that pointed to its cluster was written, whether or not a flush succeeds",
        trace: "flush-error-corrupts.json", tries: 5, found_after_seconds: Some(57.5),
    }
    RefusedStreamReadOnly {
        name: "refused-stream-read-only", id: "", harm: Harm::Denies, releases: ALL,
        what: "block-stream of the node of a file that is refused leaves that node read-only for good, whatever its auto-read-only says: jobs that are to write the image in it fail",
        right: "a command that is refused has done nothing",
        trace: "refused-stream-read-only.json", tries: 5, found_after_seconds: Some(200.3),
    }
    CommitLeavesHeader {
        name: "commit-under-backup-header", id: "", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a commit whose top stands under the filter of a backup leaves the header of the overlay above as it was: it names the committed image, and who deletes that, as after every commit, loses the overlay",
        right: "the header of the overlay names the base",
        trace: "commit-under-backup-header.json", tries: 5, found_after_seconds: Some(248.8),
    }
    FailedResizeForgotten {
        name: "failed-resize-forgotten", id: "", harm: Harm::LosesAtACrash, releases: ALL,
        what: "a commit that cannot write the new length of its base leaves the base longer in memory alone; the next commit does not write the length either, and what it committed past the old end is gone when the image is opened again",
        right: "the length in memory is the one on disk",
        trace: "failed-resize-forgotten.json", tries: 5, found_after_seconds: Some(172.2),
    }
    MirrorIntoOwnChain {
        name: "mirror-into-own-chain", id: "", harm: Harm::Misreports, releases: ALL,
        what: "a mirror whose target, a writable layer, lies below its source is accepted if a backup of that layer, whose filter hid the link between the two, ends while the command waits",
        right: "it is refused: the target is the backing of the source",
        trace: "mirror-into-own-chain.json", tries: 15, found_after_seconds: Some(239.9),
    }
    MirrorKeepsTarget {
        name: "mirror-keeps-target", id: "", harm: Harm::WrongData, releases: ALL,
        what: "a mirror of the top layer of a node without backing, which is a mirror of all, does not zero its target first: where the source has no data, whoever is moved to the target reads what was in there before",
        right: "the target is zeroed where nothing is copied, as with sync full",
        trace: "", tries: 5, found_after_seconds: None,
    }
    CommitBehindAStream {
        name: "commit-behind-a-stream", id: "", harm: Harm::Denies, releases: ALL,
        what: "a commit fails at its end with an I/O error that nobody met, while a stream of another overlay onto its top, begun after it, holds its filter",
        right: "the stream's hold of the filter does not stand in the way: the commit succeeds, or the stream is refused",
        trace: "commit-behind-a-stream.json", tries: 5, found_after_seconds: None,
    }
    ReopenPastCommit {
        name: "reopen-past-commit", id: "", harm: Harm::Misreports, releases: ALL,
        what: "blockdev-reopen of an overlay to stand on the top of a commit, past the commit's filter, succeeds if an export or another overlay keeps the filter",
        right: "the reopen is refused: the link to the filter is frozen while the job runs",
        trace: "", tries: 5, found_after_seconds: Some(268.3),
    }
    JsonNameTooLong {
        name: "json-name-too-long", id: "", harm: Harm::Denies, releases: ALL,
        what: "a stream whose base stands on the filter of another stream fails at its end, as the json: name of the base that names the filter does not fit into the header",
        right: "the header names the base so that it can be opened again, and the stream succeeds",
        trace: "", tries: 5, found_after_seconds: Some(163.9),
    }
    QueryInAJobsEnd {
        name: "query-in-a-jobs-end", id: "", harm: Harm::Misreports, releases: ALL,
        what: "query-named-block-nodes that is answered while a stream or a commit ends reports a node with the backing file on which it does not stand any more",
        right: "what a query reports is true of one moment",
        trace: "", tries: 5, found_after_seconds: Some(215.0),
    }
    HalfInactivation {
        name: "half-inactivation", id: "", harm: Harm::Misreports, releases: ALL,
        what: "blockdev-set-active that cannot inactivate all nodes is refused and leaves some of them inactive",
        right: "a command that is refused leaves every node as it was",
        trace: "", tries: 5, found_after_seconds: Some(127.0),
    }
    IdleStreamCopies {
        name: "idle-stream-copies", id: "", harm: Harm::WrongData, releases: ALL,
        what: "while a stream whose base is directly below its target waits for its end, whoever reads through the target copies what the base has into it, and does not see what is written to the base from then on",
        right: "a stream copies what lies between its target and its base, and here nothing does",
        trace: "idle-stream-copies.json", tries: 5, found_after_seconds: Some(56.3),
    }
    StreamLeavesWritable {
        name: "stream-leaves-writable", id: "", harm: Harm::Misreports, releases: SINCE_10_0_13,
        what: "a stream whose target was read-only leaves it writable when it has ended: its image stays open and locked for writing, and whoever asks may write below its overlays",
        right: "what a stream made writable for itself is read-only again when it has ended",
        trace: "stream-leaves-writable.json", tries: 5, found_after_seconds: Some(0.0),
    }
}

impl Quirk {
    /// Those that a release of QEMU has. Not all of all releases go together: some are sure to happen.
    pub fn of(release: Release) -> Vec<Quirk> {
        QUIRKS.into_iter().filter(|quirk| quirk.about().releases.contains(&release)).collect()
    }

    /// Its short name.
    pub const fn name(self) -> &'static str {
        self.about().name
    }
}
