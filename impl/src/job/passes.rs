//! Whether a mirror comes nearer to its source. It goes over what is left in passes: each copies as much as was left
//! when it began, and what guests wrote meanwhile is left to the next one. Passes that halve what is left are soon over;
//! after one that does not, the guests outrun the job.

/// How the passes went so far.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Passes {
    /// What was left when this pass began, bytes; none before the first copy.
    start: Option<u64>,
    /// What this pass copied, bytes.
    copied: u64,
    outrun: bool,
}

impl Passes {
    /// So many bytes were copied, and `left` are to be copied now.
    pub(crate) fn copied(&mut self, bytes: u64, left: u64) {
        // Whatever guests wrote beside the first copy makes its pass a little longer.
        let start = *self.start.get_or_insert(bytes.saturating_add(left));
        self.copied = self.copied.saturating_add(bytes);
        if self.copied >= start {
            self.outrun |= left > start / 2;
            self.start = Some(left);
            self.copied = 0;
        }
    }

    /// Nothing was left before target was flushed, and now `left` is: a flush alone may take longer than a guest rests.
    pub(crate) fn flushed(&mut self, left: u64) {
        self.outrun |= left > 0;
    }

    /// Whether guests write so much that the job will not catch up with them unless they are held back.
    pub(crate) fn are_outrun(&self) -> bool {
        self.outrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The passes of a job that copies `chunk` at a time while guests make `dirtied` of it dirty again, until it is in
    /// step or has copied so often.
    fn follow(mut left: u64, chunk: u64, dirtied: u64, copies: u64) -> Passes {
        let mut passes = Passes::default();
        for _ in 0..copies {
            let copy = chunk.min(left);
            left = left - copy + if copy == chunk { dirtied } else { 0 };
            passes.copied(copy, left);
            if left == 0 {
                break;
            }
        }
        passes
    }

    #[test]
    fn a_job_much_faster_than_its_guests_is_not_outrun() {
        assert!(!follow(1 << 30, 1 << 20, 1 << 18, 10_000).are_outrun());
        assert!(!follow(1 << 20, 1 << 20, 0, 10_000).are_outrun());
    }

    #[test]
    fn guests_as_fast_as_the_job_outrun_it_within_two_passes() {
        assert!(follow(1 << 30, 1 << 20, 1 << 20, 2048).are_outrun());
        assert!(follow(1 << 16, 1 << 16, 1 << 16, 3).are_outrun());
    }

    #[test]
    fn a_write_during_every_flush_outruns_the_job() {
        let mut passes = Passes::default();
        passes.copied(4096, 0);
        passes.flushed(0);
        assert!(!passes.are_outrun());
        passes.flushed(4096);
        assert!(passes.are_outrun());
    }

    #[test]
    fn nothing_copied_is_no_pass() {
        let mut passes = Passes::default();
        passes.copied(0, 0);
        assert!(!passes.are_outrun());
    }
}
