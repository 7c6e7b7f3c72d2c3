//! What is known of each engine: what breaks, where, and why.

use crate::engine::Engine;
use crate::level::Images::{self, Alone, Overlays, UnevenOverlays};
use crate::level::Level;
use crate::level::Requests::{self, Beside, InTurn, PlainBeside};
use crate::level::World::{
    self, Errors, Kill, PowerCut, UncheckedErrors, UncheckedKill, UncheckedPowerCut, Well,
};
use std::{fmt, iter};

/// A law, and the easiest level at which it breaks.
type Breaks = (Level, &'static str);

/// Something that breaks.
#[derive(Copy, Clone, Debug)]
pub struct Finding {
    /// The name of its trace.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Whether the engine's documentation promises otherwise.
    pub promise: Promise,
    /// Whose it is.
    pub engine: Engine,
    /// What its trace shows.
    pub breaks: Breaks,
    /// What else breaks by the same cause.
    pub also: &'static [Breaks],
    /// Why it breaks, by the engine's source.
    pub why: &'static str,
}

/// Whether an engine's documentation promises what breaks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Promise {
    /// It does.
    Promised,
    /// Nothing of the kind was found.
    NotPromised,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::Promised => "*Promised*",
            Promise::NotPromised => "*Not promised*",
        })
    }
}

impl Finding {
    /// Whether a law that breaks at this level may be this finding.
    pub fn explains(&self, level: Level, law: &str) -> bool {
        self.everything().any(|(easiest, broken)| broken == law && level.includes(easiest))
    }

    /// Whether anything of it may be seen at this level.
    pub fn reaches(&self, level: Level) -> bool {
        self.everything().any(|(easiest, _)| level.includes(easiest))
    }

    fn everything(&self) -> impl Iterator<Item = Breaks> {
        iter::once(self.breaks).chain(self.also.iter().copied())
    }
}

/// What is known of an engine.
pub fn of(engine: Engine) -> impl Iterator<Item = &'static Finding> {
    KNOWN.iter().filter(move |finding| finding.engine == engine)
}

const READS: &str = "a read returns what was written";
const CUT: &str = "what was flushed survives a power cut";
const CLEAN: &str = "a clean end keeps everything";
const OPENS: &str = "whatever a crash leaves can be opened and read";
const SOUND: &str = "images are sound after a crash and after a clean end";

const fn at(images: Images, requests: Requests, world: World) -> Level {
    Level { requests, images, world }
}

/// All of it. Files and functions are those of the crates' sources, in the versions that the page names.
const KNOWN: &[Finding] = &[
    Finding {
        name: "imago-zeroing-undoes-a-write",
        title: "Zeroing a part of a cluster undoes a write beside it that has ended",
        promise: Promise::Promised,
        engine: Engine::Imago,
        breaks: (at(Alone, Beside, Well), READS),
        also: &[
            (at(Alone, Beside, Well), CLEAN),
            (at(Alone, Beside, UncheckedKill), CUT),
            (at(Alone, Beside, UncheckedPowerCut), CUT),
        ],
        why: "`FormatAccess::soft_ensure_zero` (`format/access.rs`) asks whether the rest of the cluster reads as zeroes, and then \
              has the whole cluster made zeroes (`ensure_zero_mapping`); a write to that rest that ends in between is zeroed too, \
              since nothing is locked over both. One at a time (as libkrun sends requests) it does not happen.",
    },
    Finding {
        name: "imago-table-lost-after-an-error",
        title: "An error of the disk while the first table is hooked in loses what is written afterwards",
        promise: Promise::Promised,
        engine: Engine::Imago,
        breaks: (at(Alone, InTurn, UncheckedErrors), CLEAN),
        also: &[(at(Alone, InTurn, Errors), SOUND)],
        why: "`Qcow2::ensure_l2` (`qcow2/mappings.rs`) enters a new L2 table into the L1 table in memory and then writes that entry; \
              if this fails the request fails, but the entry stays in memory, later writes go into the L2 table, and no flush \
              writes the L1 entry again: flush and sync end well, and whoever opens the image finds neither table nor data. \
              With images checked, the table is seen as a leak first; on leaks the crate says *Best-effort operation. On error, \
              the given clusters may be leaked* (`qcow2/allocation.rs`).",
    },
    Finding {
        name: "imago-table-before-its-refcount",
        title: "After a kill or a power cut a table may be in use whose refcount is 0",
        promise: Promise::NotPromised,
        engine: Engine::Imago,
        breaks: (at(Alone, InTurn, Kill), SOUND),
        also: &[(at(Alone, InTurn, PowerCut), SOUND)],
        why: "`Qcow2::ensure_l2` writes the L1 entry of a new L2 table at once, while the table's refcount is only in the refblock \
              cache until a flush; whoever opens the image then may allocate the table's cluster once more. The crate keeps that \
              order between L2 entries and refcounts (the comment on `MetadataCaches`), and asks to be flushed before it is \
              dropped; of a process that dies it says nothing.",
    },
    Finding {
        name: "imago-mapping-before-data",
        title: "A power cut during a flush hides what the backing image holds, also where nobody wrote",
        promise: Promise::NotPromised,
        engine: Engine::Imago,
        breaks: (at(Overlays, InTurn, UncheckedPowerCut), CUT),
        also: &[],
        why: "`Qcow2::flush` (`qcow2/mod.rs`) writes refblocks and L2 tables without a sync between the data, the refblocks and the \
              tables; if the disk makes the table durable first, the cluster that it names holds nothing, and what the backing \
              image had there, durable for long, is hidden. The crate offers `sync` for after a flush, and promises no order \
              before it.",
    },
    Finding {
        name: "qcow2-rs-reads-the-wrong-place",
        title: "A read beside the first write to a cluster of an overlay reads another place of the backing image",
        promise: Promise::Promised,
        engine: Engine::Qcow2Rs,
        breaks: (at(Overlays, PlainBeside, Well), READS),
        also: &[],
        why: "`do_read` (`dev.rs`) decides by one look at the mapping that the backing image has the data, looks a second time, and \
              reads the backing image at the offset of the second look; if a write has mapped the cluster in between, that is an \
              offset in the overlay's file.",
    },
    Finding {
        name: "qcow2-rs-writes-fresh-memory",
        title: "Past the end of a shorter backing image guests see what was in the process's memory",
        promise: Promise::Promised,
        engine: Engine::Qcow2Rs,
        breaks: (at(UnevenOverlays, InTurn, Well), READS),
        also: &[
            (at(UnevenOverlays, InTurn, Well), CLEAN),
            (at(UnevenOverlays, InTurn, UncheckedErrors), CLEAN),
            (at(UnevenOverlays, InTurn, UncheckedKill), CUT),
            (at(UnevenOverlays, InTurn, UncheckedPowerCut), CUT),
        ],
        why: "`do_back_cow` (`dev.rs`) copies through a fresh `Qcow2IoBuf`, which is memory that nobody has written to, and `__read_at` \
              of a backing image answers *simply fake we provide data requested* past its end without touching it; so the \
              rest of the cluster becomes what was last freed there. (In our runs fresh memory is filled with 0xa5, which shows \
              as `g9637.165.165`.)",
    },
    Finding {
        name: "qcow2-rs-table-unreadable-after-an-error",
        title: "One error of the disk while a table is read makes the range unreadable for good",
        promise: Promise::NotPromised,
        engine: Engine::Qcow2Rs,
        breaks: (at(Alone, InTurn, UncheckedErrors), OPENS),
        also: &[],
        why: "`add_cache_slice` (`dev.rs`) gives the slice its offset before it reads it, and takes a slice with an offset for loaded; \
              after an error of that read nobody reads it again, nor puts it where it is found.",
    },
    Finding {
        name: "qcow2-rs-forgets-what-a-failed-flush-left",
        title: "After a flush that failed, one that ends well has not made it durable",
        promise: Promise::NotPromised,
        engine: Engine::Qcow2Rs,
        breaks: (at(Alone, InTurn, UncheckedErrors), CLEAN),
        also: &[(at(Alone, InTurn, Errors), SOUND)],
        why: "`flush_meta_generic` takes a block off the list of dirty ones (`pop_dirty_blk_idx`), and `flush_cache_entries` a slice \
              (`set_dirty(false)`), before they are written; nothing puts them back after an error (`dev.rs`), so the next \
              `flush_meta` has nothing to do and ends well.",
    },
    Finding {
        name: "qcow2-rs-maps-what-was-not-written",
        title: "A write that failed leaves its cluster mapped, past the end of the file",
        promise: Promise::NotPromised,
        engine: Engine::Qcow2Rs,
        breaks: (at(Alone, InTurn, Errors), SOUND),
        also: &[],
        why: "`make_single_write_mapping` (`dev.rs`) enters the new cluster into the L2 table before `do_write_data_file` writes it, and \
              where there is nothing to copy an error does not undo that; the checker finds *a reference to 0x5000, 4096 bytes, \
              is past the end*.",
    },
    Finding {
        name: "qcow2-rs-mapping-before-its-refcount",
        title: "A kill during a flush beside writes leaves clusters in use whose refcount is 0",
        promise: Promise::Promised,
        engine: Engine::Qcow2Rs,
        breaks: (at(Alone, PlainBeside, Kill), SOUND),
        also: &[(at(Alone, PlainBeside, PowerCut), SOUND)],
        why: "`flush_meta` (`dev.rs`) writes the refcounts, and then the L2 tables as they are by then, with the clusters that writes \
              have allocated meanwhile.",
    },
];
