//! What makes the specification permissive: a closed list.
//!
//! Most of the specification says what must be. A rule of this list says what may be: a step that nobody sees, an answer
//! that cannot be foretold, a value that is one or another. Each stands at one place of the code, which asks
//! `State::allows`. A judge without a rule refuses runs that are right; if it refuses none, nobody needs the rule.

macro_rules! rules {
    ($( $name:ident = $sentence:literal, )*) => {
        /// A permissive rule, by name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule {
            $( #[doc = $sentence] $name, )*
        }

        /// Every rule.
        pub const RULES: [Rule; RULE_COUNT] = [ $( Rule::$name, )* ];

        /// How many rules there are.
        pub const RULE_COUNT: usize = [ $( Rule::$name, )* ].len();

        impl Rule {
            /// What it allows, as a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $( Rule::$name => $sentence, )* }
            }

            /// What commands call it.
            pub fn name(self) -> &'static str {
                match self { $( Rule::$name => stringify!($name), )* }
            }
        }
    };
}

rules! {
    // Silent steps.
    CommandTakesEffect = "a command takes effect before it is answered",
    JobFindsItsWayFree = "a job that was created among others in its way finds it free",
    JobEditsGraph = "a job changes the graph before its end is reported",
    JobRestoresNode = "what a job has written turns read-only before the job's end is reported",
    JobReleasesFilter = "the filter that a job has given up goes while the job is still there",
    // What commands are answered.
    NegotiatedUnwatched = "a client has negotiated before anybody watched",
    EarlierAnswer = "an answer is of any moment since the command was sent",
    CommandMeetsFault = "a command on the graph fails with the error of a fault",
    RefusalNamesEither = "a refusal names one of two filters whose names nobody knows",
    UnknownAccepted = "a command that the model does not know succeeds",
    UnknownRefused = "a command that the model does not know is refused",
    ThrottleGroupRefused = "a throttle group is refused for its limits",
    ServerRefuses = "the NBD server refuses",
    ExportStillReadOnly = "an export is refused because its node may still be read-only",
    ThreadRefused = "a command is refused because nodes are in threads from where they cannot go",
    ChainOfFaultyNodes = "a node over one that injects errors is in no chain by its name",
    BaseByAnotherName = "a base is not found by its file, as it goes by another name",
    BackupOfUnknownLength = "a backup is refused for lengths that nobody knows",
    BackupTargetReadOnly = "a backup's target is still read-only, or a fault has kept it writable",
    UnmodelledStart = "a start with options that the model does not look into is refused",
    HeaderChangeRefused = "a change of a header is refused",
    BitmapRefused = "a bitmap is refused",
    SnapshotSyncRefused = "a snapshot into a new image is refused",
    ResizeConflict = "a resize is refused for the needs of others",
    ResizeReadOnly = "a resize is refused for a node that is read-only",
    ResizeZeroes = "a resize is refused where new clusters cannot read as zeroes",
    ReopenFrozen = "a reopen past a commit's filter is refused as a conflict",
    ReopenBitmaps = "a reopen is refused because bitmaps cannot be written",
    ReopenConflict = "a reopen is refused for the needs of others",
    UnmodelledJobVerb = "a verb on a job of an unknown type is accepted or refused",
    ChangeRefused = "a change of a mirror is refused",
    StopSeenLate = "a job that has said that it stops at an error has no I/O status of that yet",
    QueryMeetsFault = "a query of nodes fails with the error of a fault in what an image says of its bitmaps",
    BitmapsStayReadOnly = "a job cannot write to an image whose bitmaps have not become writable with it, as a fault has struck",
    CompleteAfterCancel = "a mirror that was cancelled can be completed",
    // What commands do.
    LateCancel = "a cancel comes too late",
    DrainEndsLate = "a job that a drain held when it was paused goes on once more",
    EitherAskerCreates = "a job is created by any of several commands that ask for it",
    MirrorTargetReadOnly = "a mirror's target is still read-only, or a fault has kept it writable",
    CommitOfUnknownLength = "a commit is refused for lengths that nobody knows",
    DeviceLeftBehind = "a stream that is refused late leaves a device behind",
    HeaderChangeFails = "a header names the old or the new after its change has failed",
    ResizeFails = "an image has the old or the new length after a resize has failed",
    HeaderNamesEither = "a header that a command and a job change names what either says",
    ResizedZeroes = "the zeroes of a longer image need no cluster",
    // How jobs end.
    FailsSilently = "a job that is no stream fails by a fault that it reports nowhere",
    SeveralErrors = "a job that is no stream meets several errors",
    FinalizingFails = "a job fails by a fault while it is finalized",
    ChainConflict = "a stream fails because its chain conflicts with another job",
    BackupRounded = "a backup's length is rounded to whole clusters",
    HeaderOldOrNew = "a header names the old or the new backing while a job ends",
    CommitForgetsOverlay = "a commit forgets the header of an overlay behind a filter",
    // What a crash leaves.
    CrashInPending = "a job in pending was finalizing itself when everything stopped",
    LastOutputLost = "the last output of a killed process was not received",
    HeaderChangeCutOff = "a header names the old or the new after its change was cut off",
    ShorterMeanwhile = "an image has the old or the new length while it is resized",
    GivenUpEarly = "what lies behind an image's new end is given up before the end is written",
    LeakAfterFault = "a write that failed leaves its cluster counted",
    // What queries report.
    ProgressOfBefore = "a query reports the progress of a moment before",
    FileNameInJson = "a query reports a file by a name in JSON",
    OrphanShown = "a query reports what an ended job still holds, or does not",

    StaleNeeds = "what only jobs hold needs what it needed before",
    ResizeUnderWay = "a query meets the device of a resize that is under way",
    UnknownLengthNeeds = "a job needs to resize a node whose length nobody knows",
    KeptWritable = "a fault keeps a node writable that a job wrote",
    // What guests meet.
    GuestOnKeptWritable = "a guest writes a node that a fault has kept writable",
    TurnedAwayFromGrowing = "a guest is turned away from a node that a commit may be making longer",
    RequestMeetsFault = "a request fails by a fault",
    FailedWrite = "a sector is the old or the new after a write has failed",
    DiscardKeeps = "a discard leaves what was there, or zeroes",
    WrittenZeroes = "zeroes need no cluster where nothing lies below",
    TornRead = "a read beside a write is torn within a sector",
    ReadOvertaken = "a read that is on its way sees what its image stood on before",
    RequestMoved = "a request that is on its way reaches what comes into its image's place",
    // What jobs copy.
    MirrorZeroesTarget = "a mirror zeroes its target first",
    CopySeesWrite = "a copy sees the old or the new of a write that was on its way at its start",
    CopiesInterfere = "of two copies of which one writes below the other's source nobody knows the outcome",
    CopyLosesTrack = "a copy copies from what its source stood on, or stands on now",
    BackupOfTopFindsStreamed = "a backup of the top copies what a stream has allocated meanwhile, or does not",
    BackupOfTopLosesTrack = "a backup of the top looks at the layer below an overlay, or at the overlay",
}

/// Rules that a judge goes without.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Without(u128);

// One bit for each.
const _: () = assert!(RULE_COUNT <= 128);

impl Without {
    /// Goes without this one too.
    pub fn add(&mut self, rule: Rule) {
        self.0 |= 1 << rule as u32;
    }

    /// Whether it goes without this one.
    #[inline]
    pub fn has(self, rule: Rule) -> bool {
        self.0 >> rule as u32 & 1 != 0
    }
}
