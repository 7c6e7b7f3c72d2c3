//! Draws what operators say: streams, verbs on their jobs, queries, nodes added and removed, and plain nonsense.
//!
//! A client is sequential: it reads the reply to a command before it sends the next. Commands are biased to what the
//! engine accepts, for a refused command tests little.

use super::scenario::{Profile, Scenario, World};
use super::{edits, jobs};
use midstream::choice::Draw;

/// How many tables of commands there are.
pub const PROFILES: u32 = 10;
/// The first table that also has commands for which spare images are needed.
pub const FIRST_WITH_SPARES: u32 = 4;
/// The table of verbs on jobs that become ready or end together.
const VERBS: u32 = 8;
/// Command slots of a client.
const COMMANDS: u32 = 4;
const COMMANDS_WIDE: u32 = 6;

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientPlan {
    /// Its number.
    pub client: u32,
    /// One command after the other.
    pub commands: Vec<Command>,
}

/// One command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Steps to think before it.
    pub think: u32,
    /// Which slot of its client it fills.
    pub slot: u32,
    /// The text as it is sent.
    pub text: String,
    /// For what it waits before, if for anything.
    pub awaits: Option<Awaited>,
}

/// A job, and the statuses of which it is to be in one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Awaited {
    /// Its number.
    pub job: u32,
    /// Any of these.
    pub statuses: &'static [&'static str],
}

/// The kinds of commands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Word {
    Nothing,
    Stream,
    Commit,
    Mirror,
    Backup,
    Backups,
    Reopen,
    Snapshot,
    Resize,
    ChangeBackingFile,
    Mark,
    Pause,
    Resume,
    SetSpeed,
    Cancel,
    Complete,
    Finalize,
    Dismiss,
    Query,
    Add,
    Del,
    Nonsense,
}

/// The commands of each profile: a balance, streams alone, verbs, and an operator who means no good; then all kinds of
/// jobs, each kind beside streams, edits of the graph under jobs, everything, verbs on jobs that become ready or end
/// together, and edits of nodes one after the other.
const TABLES: [&[Word; 32]; PROFILES as usize] = {
    use Word::{
        Add, Backup, Backups, Cancel, ChangeBackingFile, Commit, Complete, Del, Dismiss, Finalize, Mark,
        Mirror, Nonsense, Nothing, Pause, Query, Reopen, Resize, Resume, SetSpeed, Snapshot, Stream,
    };
    [
        &[
            Nothing, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Pause,
            Pause, Resume, Resume, SetSpeed, SetSpeed, Cancel, Cancel, Complete, Finalize, Dismiss, Query,
            Query, Add, Del, Del, Nonsense, Nothing, Nothing, Nothing, Nothing,
        ],
        &[
            Nothing, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream,
            Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream,
            Nothing, Nothing, Nothing, Nothing, Nothing, Nothing, Nothing, Nothing,
        ],
        &[
            Nothing, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Stream, Pause,
            Pause, Pause, Resume, Resume, Resume, SetSpeed, SetSpeed, SetSpeed, Cancel, Cancel, Cancel,
            Cancel, Complete, Finalize, Finalize, Finalize, Dismiss, Dismiss, Dismiss, Nothing,
        ],
        &[
            Nothing, Stream, Stream, Stream, Stream, Stream, Stream, Del, Del, Del, Del, Add, Add, Add, Add,
            Query, Query, Query, Nonsense, Nonsense, Nonsense, Nonsense, Nonsense, Nonsense, Cancel, Cancel,
            Pause, Resume, Finalize, Dismiss, Complete, Nothing,
        ],
        &[
            Nothing, Commit, Commit, Commit, Commit, Commit, Mirror, Mirror, Mirror, Mirror, Mirror, Backup,
            Backup, Backup, Backup, Backup, Backups, Backups, Stream, Stream, Complete, Complete, Complete,
            Cancel, Cancel, SetSpeed, Pause, Resume, Finalize, Dismiss, Nothing, Nothing,
        ],
        &[
            Nothing, Stream, Stream, Stream, Stream, Stream, Stream, Commit, Commit, Commit, Commit, Mirror,
            Mirror, Mirror, Mirror, Backup, Backup, Backup, Backup, Stream, Stream, Complete, Complete,
            Complete, Commit, Cancel, Mirror, Backup, SetSpeed, Nothing, Nothing, Nothing,
        ],
        &[
            Nothing,
            Stream,
            Stream,
            Stream,
            Stream,
            Reopen,
            Reopen,
            Reopen,
            Reopen,
            Snapshot,
            Snapshot,
            Snapshot,
            Resize,
            Resize,
            Resize,
            Resize,
            ChangeBackingFile,
            ChangeBackingFile,
            Mark,
            Commit,
            Commit,
            Mirror,
            Mirror,
            Backup,
            Backup,
            Complete,
            Del,
            Query,
            Cancel,
            Nothing,
            Nothing,
            Nothing,
        ],
        &[
            Nothing,
            Stream,
            Stream,
            Commit,
            Commit,
            Mirror,
            Mirror,
            Backup,
            Backup,
            Backups,
            Reopen,
            Snapshot,
            Resize,
            ChangeBackingFile,
            Mark,
            Pause,
            Resume,
            SetSpeed,
            Cancel,
            Complete,
            Complete,
            Finalize,
            Dismiss,
            Query,
            Add,
            Del,
            Nonsense,
            Stream,
            Commit,
            Mirror,
            Nothing,
            Nothing,
        ],
        &[
            Nothing, Mirror, Mirror, Mirror, Mirror, Mirror, Commit, Commit, Backups, Backups, Backups,
            Backups, Complete, Complete, Complete, Complete, Cancel, Cancel, Cancel, Cancel, Cancel, Cancel,
            Pause, Pause, Pause, Resume, Resume, Resume, Finalize, Finalize, Query, Nothing,
        ],
        &[
            Nothing, Resize, Resize, Resize, Resize, Resize, Resize, Resize, Resize, Reopen, Reopen, Reopen,
            Reopen, Reopen, Mark, Mark, Mark, Mark, Mark, Mark, Snapshot, Snapshot, Stream, Stream, Commit,
            Commit, Commit, Commit, Backup, Query, Query, Nothing,
        ],
    ]
};

/// Whether the commands of a profile need spare images.
pub fn needs_spares(profile: u32) -> bool {
    profile >= FIRST_WITH_SPARES
}

/// Draws client number `client`.
pub fn draw(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, client: u32) -> ClientPlan {
    let slots = if profile.world == World::Wide { COMMANDS_WIDE } else { COMMANDS };
    let commands =
        (0..slots).filter_map(|slot| draw_command(draw, scenario, profile, [client, slot, 0])).collect();
    ClientPlan { client, commands }
}

fn draw_command(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> Option<Command> {
    let word = draw.entry("client # command #", of, TABLES[profile.commands as usize]);
    // Where a commit is to fail half way, somebody tries.
    let is_copy = matches!(word, Word::Mirror | Word::Backup | Word::Backups);
    let word = if is_copy && jobs::half_committed(scenario, profile).is_some() { Word::Commit } else { word };
    let text = match word {
        Word::Nothing => return None,
        _ if profile.world == World::Wide && draw.below("client # command # rare", of, 8) == 1 => {
            rare(draw, scenario, of)
        }
        Word::SetSpeed if needs_spares(profile.commands) && changes(draw, profile, of) => change(draw, of),
        Word::Stream => jobs::stream(draw, scenario, of),
        Word::Commit => jobs::commit(draw, scenario, profile, of),
        Word::Mirror => jobs::mirror(draw, scenario, profile, of),
        Word::Backup => jobs::backup(draw, scenario, profile, of),
        Word::Backups => jobs::backups(draw, scenario, profile, of),
        Word::Reopen => edits::reopen(draw, scenario, profile, of),
        Word::Snapshot => edits::snapshot(draw, scenario, of),
        Word::Resize => edits::resize(draw, scenario, of),
        Word::ChangeBackingFile => edits::change_backing_file(draw, scenario, of),
        Word::Mark => edits::mark(draw, scenario, profile, of),
        Word::Query => draw.entry("client # command # query", of, &QUERIES).to_owned(),
        Word::Add => add(draw, scenario, of),
        Word::Del => {
            let node = node(draw, scenario, of);
            execute("blockdev-del", &format!(r#""node-name":"{node}""#))
        }
        Word::Nonsense => draw.entry("client # command # nonsense", of, &NONSENSE).to_owned(),
        verb => self::verb(draw, scenario, verb, of),
    };
    // More commands at a time cost the judge much.
    let think = match profile.is_storm && profile.commands == VERBS {
        true => draw.entry("client # command # think", of, &[0, 0, 0, 0, 0, 1, 2, 2, 4, 8, 16, 64]),
        false => draw.entry("client # command # think", of, &[0, 1, 2, 4, 8, 8, 16, 16, 32, 32, 64, 128]),
    };
    Some(Command { think, slot: of[1], text, awaits: None })
}

const QUERIES: [&str; 4] = [
    r#"{"execute":"query-block-jobs"}"#,
    r#"{"execute":"query-jobs"}"#,
    r#"{"execute":"query-named-block-nodes"}"#,
    r#"{"execute":"x-debug-query-block-graph","id":{"any":["value",1]}}"#,
];

const NONSENSE: [&str; 10] = [
    r#"{"execute":"block-stream"}"#,
    r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":"j0","depth":3}}"#,
    r#"{"execute":"block-stream","arguments":{"device":"nowhere","job-id":"j0"}}"#,
    r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":7}}"#,
    r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":"7up"}}"#,
    r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":"j0","on-error":"shrug"}}"#,
    r#"{"execute":"block-job-set-speed","arguments":{"device":"j0","speed":"fast"}}"#,
    r#"{"execute":"no-such-command"}"#,
    r#"{"execute":"query-jobs",}"#,
    r#"["query-jobs"]"#,
];

/// A command as it is sent.
pub(crate) fn execute(command: &str, arguments: &str) -> String {
    format!(r#"{{"execute":"{command}","arguments":{{{arguments}}}}}"#)
}

/// The number of the job that a command starts.
pub(super) fn job_of(text: &str) -> Option<u32> {
    let (_, id) = text.split_once(r#""job-id":"j"#)?;
    id.split_once('"')?.0.parse().ok()
}

/// A job's id: mostly the client's own job, sometimes somebody else's.
pub(super) fn job(draw: &mut Draw<'_>, of: [u32; 3]) -> u32 {
    match draw.below("client # command # job", of, 8) {
        0..=4 => of[0],
        other => other - 5,
    }
}

/// A layer of the scenario, counted from the top.
pub(super) fn image(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> usize {
    let count = scenario.layers;
    count - 1 - draw.below("client # command # node", of, 60) as usize % count
}

fn node(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let image = image(draw, scenario, of);
    let kind = draw.entry("client # command # node kind", of, &["n", "n", "f", "spare"]);
    format!("{kind}{image}")
}

fn verb(draw: &mut Draw<'_>, scenario: &Scenario, word: Word, of: [u32; 3]) -> String {
    let job = job(draw, of);
    let jobs_family = draw.below("client # command # family", of, 2) == 1;
    let (family, member) = if jobs_family { ("job", "id") } else { ("block-job", "device") };
    let mut arguments = format!(r#""{member}":"j{job}""#);
    let verb = match word {
        Word::Pause => "pause",
        Word::Resume => "resume",
        Word::Complete => "complete",
        Word::Finalize if !jobs_family => return execute("block-job-finalize", &format!(r#""id":"j{job}""#)),
        Word::Finalize => "finalize",
        Word::Dismiss if !jobs_family => return execute("block-job-dismiss", &format!(r#""id":"j{job}""#)),
        Word::Dismiss => "dismiss",
        Word::SetSpeed => {
            let slow = i64::try_from(scenario.stream_chunk_bytes * 10).expect("a small world's sizes");
            let speed = draw.entry("client # command # new speed", of, &[0, slow, 512, 1, -1]);
            return execute("block-job-set-speed", &format!(r#""device":"j{job}","speed":{speed}"#));
        }
        _ => {
            if !jobs_family && draw.below("client # command # force", of, 2) == 1 {
                arguments += r#","force":true"#;
            }
            "cancel"
        }
    };
    execute(&format!("{family}-{verb}"), &arguments)
}

/// Whether a command that would change a job's speed changes how it copies.
fn changes(draw: &mut Draw<'_>, profile: Profile, of: [u32; 3]) -> bool {
    profile.world == World::Simulated && draw.below("client # command # changes", of, 2) == 1
}

/// What only a live daemon is asked for: a node goes to another thread, or a mirror to another way of copying.
fn rare(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let threads = scenario.threads.count();
    if threads > 0 && draw.below("client # command # moves", of, 2) == 0 {
        let node = format!("n{}", image(draw, scenario, of));
        let thread = match draw.below("client # command # thread", of, 3) {
            0 => "null".to_owned(),
            thread => format!(r#""io{}""#, (thread - 1) % threads),
        };
        return execute("x-blockdev-set-iothread", &format!(r#""node-name":"{node}","iothread":{thread}"#));
    }
    change(draw, of)
}

/// A mirror goes on to another way of copying.
fn change(draw: &mut Draw<'_>, of: [u32; 3]) -> String {
    let (job, modes) = (job(draw, of), ["write-blocking", "write-blocking", "background"]);
    let mode = draw.entry("client # command # copy mode", of, &modes);
    execute("block-job-change", &format!(r#""id":"j{job}","type":"mirror","copy-mode":"{mode}""#))
}

/// Adds a second node beside the scenario's own: a spare file node on an image's file, or a name that is taken.
fn add(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let image = image(draw, scenario, of);
    let path = &scenario.images[image].path;
    let name = draw.entry("client # command # name", of, &["spare", "spare", "n", "filter"]);
    let file = format!(r#""driver":"file","filename":"{path}","read-only":true,"node-name":"{name}{image}""#);
    execute("blockdev-add", &file)
}
