//! The engine in midstream's world, QEMU's language in front of it and the model beside it; real daemons under the same
//! model; and the command.
//!
//! # Where things are
//!
//! - `layer.rs` is the engine as a block layer of `midstream`, by the door that is there for everybody's. `other-engines`
//!   includes this one file, too.
//! - `recovery.rs` reopens files, as the next process would.
//! - `device.rs`, `device/` are the simulated disk for programs that are not ours: `server` takes NBD clients with the
//!   engine's own sans-IO session, `state` orders and completes their requests on the disks of `world/disk`, `log` keeps every
//!   step, so that a run can be cut at any of its points afterwards.
//! - `judge.rs`, `judge/` judge a history that anybody recorded, line by line: `input` reads, `protocol`
//!   refuses what nobody can have seen, `spec` is the model or the data-only specification.
//! - `workload/` draws images, guests (some never rest while a job works) and operators; `world.rs` builds one and lives
//!   through it, as far at a time as `world/advance.rs` says; `world/guest.rs` and `world/client.rs` are guests and operators at
//!   work, and guests come by a `world/door.rs`, as devices or by `world/nbd.rs`; `world/stuck.rs` says who waits for whom; `world/scripted.rs` lets a test
//!   drive one by hand; `oracle.rs` shows everything to the model.
//! - `oracle/bounded.rs` judges bounded progress: what a job may copy until it is in step, and until it ends once asked to;
//!   `oracle/space.rs` judges what files still take after a discard, which `recovery/allocation.rs` counts. `oracle/beside.rs`
//!   holds all laws that are judged beside the model: `oracle/bitmaps.rs` (`held`: what backups leave of them), `oracle/thresholds.rs` (both by a `write.rs`) and
//!   `oracle/snapshots.rs`, whose contents `recovery/snapshots.rs` reads; `oracle/pace.rs` knows how fast jobs with a speed
//!   copy, and `oracle/modes.rs` how files are open at rest. `oracle/crashed.rs` judges where the world ends, or
//!   might have. `oracle/asked.rs` finds the name of a command, which is all that most of them need of it.
//!   `workload/tables.rs` knows which table of an image lies where.
//! - `workload/lies.rs` draws what no honest disk does, and `world/lying.rs` judges the few runs that have it, for safety alone.
//! - `attack.rs`, `attack/` send hostile input to a real daemon: `draw` makes the inputs of a round from its seed and
//!   `material`, `victim` is a fresh daemon, `watch` its other monitor, `monitor`, `guests`, `opened` and `readers` are the
//!   ways in (`apart` gives readers a process of their own, which may die); `round` plays one and minimises a finding, `finding` is its file, `campaign` counts.
//! - `conform.rs`, `conform/` play recorded cases of the real daemon (`tests/conformance/README.md`): `corpus` reads them
//!   (the model's tests include this one file too), `admit` refuses what would reach out of a case's folder, `case` takes
//!   one apart, `player` plays it on a `subject` and `look`s at jobs and graph, `canonical` brings results into one form,
//!   `verdict` compares them, `campaign` counts. `engine.rs`, `engine/` are the engine in this process, with images made
//!   and looked at in memory; `socket.rs` is how clients reach it. `daemon.rs`, `daemon/` are any daemon behind its
//!   sockets, with real files and the real image tools.
//! - `live.rs`, `live/` drive a real daemon with the same generator and choice log, under the same model: `target` which daemon
//!   (a trace names its kind only; `version.rs` asks the program what it is), `planned` what a trace shows without one, `process` one of them in its own folder
//!   behind its own sockets, `qmp` its monitor line by line, `timeout` how long it may take, `plan` what is drawn beside
//!   the scenario (injected errors, a kill), `turns` the order of commands and requests, `sequence` one run of it,
//!   `monitor`, `guests` and `ending` its parts, `in_flight` the requests that are not awaited before the next turn,
//!   `schema` and `schema_command` commands drawn from the daemon's own schema, `effect` what they have done, `second_reader` what qemu-img finds in the
//!   images, `judge` the model beside it. `campaign` runs several side by side, as far as its `campaign/plan` says, `again` takes
//!   one again, `minimise` minimises failures. `judge` goes on with all quirks where a law breaks and they explain it; `known` finds the smallest set of
//!   them that explains the whole history; `fall` is a crash, a hang or the like as data, `stack` asks gdb where, and `bucket`
//!   with `buckets.json` knows those that were met before. None of them steers the search; `report` prints, `action` and `script` make a shell script of a sequence, with its driver (`script.py`) within or beside it, `doc` the page in `docs/`. `image_store`
//!   puts images into files, or on devices (`--disk`); then `journal` notes the devices' steps before each thing that the
//!   judge was shown, and `cuts` judges the sequence as if it had been killed, or the power cut, at many of those steps.
//!   `rounds` plays sequences whose end is one of `plan`'s ordeals, and `repaired` gives back what leaked. Live traces lie in `traces/live`, those that were judged wrongly once in `traces/live/right`; what depends on timing
//!   is replayed several times. Those in `traces/live/rare` come again too seldom for a test to ask for them:
//!   `handshake-drain-hang` in one try of three on an idle machine and never on a busy one, `mirror-reopen-crash` in one of
//!   fifty at best.
//! - `shard.rs`, `shard/`: a campaign in parts, on as many machines: which seeds a part has, what it leaves, and their union.
//! - `programs.rs`: other people's programs, what each is good for and how to get it.
//! - `html.rs`, `html/`: a run as a page to look at, and as what other people's viewers read.
//! - `fence.rs`: what a replay or a case starts changes nothing outside its folder.
//! - `report/`, `command/`, `mutants.rs` are the command. `report/page` is how wide and how coloured the terminal is,
//!   `report/lanes` a history on it, `report/story` what a campaign shows of one that failed; `command/limits` is what numbers and
//!   places may be, `command/laws` knows the names, `command/seeds` which seeds failed before; `command/fuzz/failures` groups laws
//!   that one cause breaks, `command/fuzz/ending` is what a campaign says at its end; `command/explore` takes every schedule of
//!   scenarios, `command/explore/progress` is the file that it is resumed by, `command/explore/table` the table in `docs/exhaustive.md`. In `mutants/`, `tree` is the scratch copy that bugs are put into,
//!   `masked` asks which of them defects of QEMU would excuse; of mutants of the model, `kept` turns what was kept into
//!   histories, and `rules` judges them again without rules.

pub mod attack;
pub mod command;
pub mod conform;
pub mod device;
pub mod fence;
pub mod html;
pub mod judge;
pub mod layer;
pub mod live;
pub mod mutants;
pub mod oracle;
pub mod programs;
pub mod recovery;
pub mod report;
pub mod shard;
pub mod subject;
pub mod version;
pub mod workload;
pub mod world;
