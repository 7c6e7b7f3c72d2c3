//! midstream's streaming engine: QEMU's block graph, qcow2, `block-stream` and its job life, for real.
//!
//! It meets the world through [`seam`] alone, so the same code runs on real files (`midstreamd`) and in the
//! simulator. Inside: qmp -> job -> io -> graph, io -> format -> seam; everybody may use sync, id and error.
//!
//! # Where things are
//!
//! - `seam` (a crate) is files, sockets, time and tasks, `Errno` with its words, and the `escape` of texts of others; its
//!   `debug_event` are the moments that an error-injecting disk may strike at. `os.rs` and `os/` are the real world (tokio,
//!   rustix, nix), and a feature, `os`, which the daemon needs and `sim` does not:
//!   `socket` makes private sockets, `confine` keeps to one folder by its descriptor, `place` is a name in a held folder,
//!   `disk` is a file, `range` its data, zeroes and holes, `lock` takes QEMU's locks, `direct` goes around the page cache; the
//!   simulator is the other.
//! - `graph.rs`, `graph/`: nodes, links, users. A `Graph` is a value: requests hold the one they began with, an edit clones
//!   it, checks the clone and puts it in place (`Core::try_edit`), so a change happens entirely or not at all. `chain`
//!   walks down, `blocker` says who forbids what, `permission` who needs what, `node` is what never changes, `orphan` what
//!   an ended job still holds of nodes that are gone, `write_threshold` reports how far a node is written and what a file's discards came to, `failed_flush` remembers of which files a flush has failed. `cell` is
//!   where the present graph stands, `options` the options that any node has, `filename` works out the name a node would be
//!   opened by; `numbered` is for whoever goes through all nodes; `user` is who uses a node from outside, `draft` a graph on
//!   which nodes are opened, `freeze` which links stay. A node is `Storage`, which keeps bytes, or a `Filter`, which passes
//!   them on: a new driver is a variant of one of the two, its rule in `permission`, and its part in `io/`. `permission.rs`
//!   (a room of its own) is the set of permissions.
//! - `io.rs`, `io/`: `read` goes down the chain, `write` stays in its layer, `status` says which layer decides a byte,
//!   `copy_on_read` populates; `filter` is what each filter does about a request that passes; `node_disk` makes any
//!   node the disk of the driver above it, so formats lie on formats and on filters as on files.
//! - `filter.rs`, `filter/`: what the operator's filters remember: `blkdebug` (rules that events arm and requests set off;
//!   drivers report their moments to the disk below them), `throttle` (requests wait for their group).
//! - `core.rs`, `core/` are what guests, jobs and commands all stand on: the world, the graph with its gate, and what becomes of
//!   nodes that leave it; `access` changes layers between read-only and read-write, `events` are who listens.
//! - `job/`: `status` holds the two tables, `state` is what a job can be, `life` makes every transition, `verbs` admits
//!   every verb, `group` is jobs that commit or abort together; `task` is the order of every job's life (QEMU's words: run, prepare,
//!   abort, clean), `pace` is where it
//!   pauses, `rate` limits it; `stream_start` checks and attaches, `stream` does the work; so do `mirror_start` and
//!   `mirror`, for active commits too; `passes` sees when guests outrun it and are to be held back. What a mirror's filter,
//!   its job and its operators share is `graph/mirror_top`; what is left to copy is `dirty`; the filter's writes and the
//!   copies are `io/mirror`. `commit_start` also chooses between the two commits; `commit` is the one of layers nobody
//!   writes to; `header` names a new backing durably. `backup_start` and `backup` share `graph/copy_before_write` with
//!   their filter; what is saved, and who waits for it, is `io/backup`.
//! - `format/`: `raw` (a part of it by `window`), `null`, and `qcow2`. Inside qcow2: `header`, `open`, `create`, `check`
//!   and `count` are the file as a whole; `mapping`, `alloc`, `entry`, `subclusters` (extended L2), `counter`, `pointers`,
//!   `cache` and `metadata` are its tables in memory, changed one step at a time under one short-held mutex; `read`,
//!   `write`, `zero`, `resize`, `backing`, `pack` (compressed clusters; `compressed` is the codec), `snapshot`, `bitmaps`,
//!   `info` are the requests (`snapshot_list` is what queries show of snapshots); `repair` repairs what was not closed cleanly; `flush` is the only file that writes tables,
//!   in `write_in_order`; `discard` gives the space of freed clusters back. Persistent bitmaps hang on a node's place while
//!   it is open and go into the image when it is closed (`bitmaps`; `bitmap_directory` is their list, `bitmap_bits` what
//!   they hold).
//! - `nbd.rs`, `nbd/`: both sides of the protocol without I/O; `session` is a server, `client` a client, and what they have in
//!   common is `request` and `wire`. `remote.rs`, `remote/`: the disk behind a server that the driver `nbd` is; `dial` makes
//!   connections, `line` moves the bytes of one, `disk` cuts requests to what the server takes.
//! - `budget.rs`: what images may make the engine hold, and when long work on them pauses or is given up. Inside qcow2
//!   `walk` goes through all tables within those bounds, and `damage` reports metadata that cannot be. `graph/depth`
//!   bounds chains.
//! - `sync/`: `ending` (nobody lingers any more), `range_lock` (first come, first served), `gate` (drain), `signal` (no
//!   lost wake-up), over `shim`. `tests/loom.rs` compiles the same files over loom.
//! - `engine.rs`, `engine/`: the commands, one file each: `open` (`blockdev-add`, `-del`; `opening` and `opening/` open nodes on a draft
//!   of the graph, children first; `named` says what a header's name of a backing means, and asks `qapi/file_name` what a
//!   `json:` name describes), `stream`, `query`, `stats`, `debug` (the graph with all permissions); `jobs` makes, commands and
//!   forgets jobs of any kind, `guest` is who reads and writes. What changes the graph or a node while jobs run: `amend` (a job that no `block-job-*` command
//!   knows; `create`, which makes files and images, is the other), `reopen`, `snapshot`, `internal_snapshot`, `resize`, `backing_file`, `bitmap`; their rules are functions of a
//!   `Graph` (`graph/snapshot.rs`, `graph/bitmap.rs`; `graph/backing_image.rs` finds a base by its file name), so
//!   `transaction` does its actions to a draft of the graph first, and to the graph itself only when all can be done. A new
//!   action: `qmp/transaction.rs`.
//! - `command.rs`, `command/`: what operators ask and what they are shown, as plain data: `nodes`, `jobs`, `exports`, and the
//!   `info` of queries.
//! - `qapi/`: from text to options. `lexer` and `json` read, `schema` and `types` are the one table of commands from which
//!   `check` follows, `options`, `node_options` and `create_options` make plain data of what passed.
//! - `qmp/`: text in, text out. `dispatch` calls the engine, `introspect` shows the table, `text` and `report` word the answers,
//!   `monitor` and `outbox` are one client.
//! - `nbd/`: the NBD protocol without I/O: `session` is one client, `option` its handshake, `request` and `reply` what
//!   follows, `offer` what it may know of exports, `wire` the numbers.
//! - `engine/export.rs`, `engine/export/`: nodes offered to NBD clients. `server` takes clients, `connection` moves a session's bytes and
//!   runs its requests side by side, as far as `memory` lets it; `request` does one on the node. Commands: `engine/exports.rs`.
//! - `warning.rs`: what went wrong and no client asked for.
//! - `object.rs`, `throttle.rs`: what `object-add` makes.
//! - `bin/midstreamd/`: the daemon. `command_line` reads options, `set_up` acts on them in order, `serve` speaks QMP,
//!   `background` and `pid_file` are what a daemon needs, `signals` end it.
//!
//! # Who waits for whom
//!
//! Who may wait for whom, so that nobody waits in a ring: a command holds `Engine::commands`; it or a job that ends drains
//! `Engine::gate`; a request enters the gate, then takes ranges of nodes from the top of a chain downwards, then guest
//! clusters of one image. Nobody inside waits for anything further out.

#![warn(unreachable_pub)]

pub mod budget;
pub mod command;
mod core;
mod dirty;
pub mod engine;
pub mod error;
pub mod event;
mod filter;
pub mod format;
mod graph;
mod id;
mod io;
mod job;
pub mod nbd;
mod object;
#[cfg(feature = "os")]
pub mod os;
mod permission;
pub mod qapi;
pub mod qmp;
mod remote;
pub mod sync;
mod throttle;
mod warning;
