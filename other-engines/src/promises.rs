//! What each engine promises, in its own words.

use crate::engine::Engine;

/// The promises of an engine, as the page shows them.
pub fn of(engine: Engine) -> &'static str {
    match engine {
        Engine::Imago => IMAGO,
        Engine::Qcow2Rs => QCOW2_RS,
        Engine::Ours => "",
    }
}

const IMAGO: &str = "\
libkrun reads disk images with it, one request at a time. What it says of itself:

- `FormatAccess::flush`: *Flush internal buffers. Always call this before drop! [...] Does not necessarily sync those buffers to
  disk. When using `flush()`, consider whether you want to call `sync()` afterwards.* Our flush is `flush()` and then `sync()`.
- `FormatAccess::sync`: *Sync data already written to the storage hardware.*
- README: *callers must ensure that images are properly flushed before dropping them*. So what was not flushed may be gone after
  a kill, by design, and is not asked for.
- `FormatAccess::write_zeroes`: *Ensure the given range reads as zeroes.*
- Requests take `&self` and may run beside each other. Discarding takes `&mut self` or is `unsafe`: it is left out here.
- The comment on `MetadataCaches` (`qcow2/cache.rs`, no public promise): *When allocating clusters, we need to increment the
  refcounts (from 0 to 1) before writing the L2 pointers.*
";

const QCOW2_RS: &str = "\
rublk serves qcow2 images with it, many requests beside each other. What it says of itself, in its README:

- *basic read/write function on data file, backing file and compressed image*
- *block device like interface*
- *flush meta data lazily, which is done in soft update style*. So what was not flushed may be gone after a kill, by design, and
  is not asked for; but the order of soft updates, refcounts before what needs them, is.

Our flush is `fsync_range`, `flush_meta` as rublk does it, and `fsync_range` once more, since `flush_meta` makes its last write
durable by nothing. It has no zeroing, no discarding, and nothing that makes an overlay: those are made by our driver. Dropping a
device with tables that were not flushed panics, by design; worlds that end early drop none.
";
