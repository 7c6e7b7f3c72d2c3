//! The law of bounded progress: what a job that copies may copy before it is in step with guests that never rest, and before
//! it ends once somebody asked it to.
//!
//! And what a request of such a guest may take to be answered, where disks have a speed.
//!
//! The bound of jobs is in bytes copied, so it holds for disks of any speed, for jobs that are paused or slowed down, and for
//! every schedule. A job that guests outrun for ever copies without end.

use crate::oracle::asked::after;
use midstream::world::disk::SECTOR_BYTES;
use std::collections::BTreeMap;

/// In step after its device was copied so often: the first pass, one that shows that guests outrun it, and what they
/// write until they are held back.
const COPIES_TO_READY_MAX: u64 = 8;
/// At its end after so much more, from the moment on that it was asked to: what is on its way then, what guests had written
/// by then, and what they write until they are held back.
const COPIES_TO_END_MAX: u64 = 3;

/// A guest's request is answered before its device could be copied so often, by requests of a sector each: what held
/// it back is on its way to another disk by then.
const COPIES_TO_ANSWER_MAX: u64 = 8;

/// Jobs wait for short whiles, whatever the speed of disks.
const WAIT_NANOS_MAX: u64 = 1_000_000_000;

/// How fast disks are, in virtual time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Speed {
    /// For a request.
    pub request_nanos: u64,
    /// For a byte.
    pub byte_nanos: u64,
}

/// How a guest's request that took so long breaks the law, if it does.
pub fn answered_late(nanos: u64, device_bytes: u64, speed: Speed) -> Option<String> {
    let requests = (device_bytes / SECTOR_BYTES).saturating_mul(speed.request_nanos);
    let bytes = device_bytes.saturating_mul(speed.byte_nanos);
    // Reading and writing. Disks without a speed have no bound: a request takes as long as the schedule lets it.
    let bound = requests.saturating_add(bytes).saturating_mul(2 * COPIES_TO_ANSWER_MAX);
    let is_late = bound > 0 && nanos > bound + WAIT_NANOS_MAX;
    is_late.then(|| format!("it was answered after {nanos} ns of virtual time, and {bound} are enough"))
}

/// A job as a look finds it.
#[derive(Copy, Clone, Debug)]
pub struct Seen<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its status.
    pub status: &'a str,
    /// What it has copied so far, in bytes.
    pub offset: u64,
}

/// What is known of jobs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounded {
    /// Jobs that clients want to end and have no answer yet.
    asked: BTreeMap<u32, String>,
    /// Jobs that clients want to start and have no answer yet.
    starts: BTreeMap<u32, Vec<String>>,
    /// Jobs that were asked to end, and what each had copied when that was first seen.
    asked_to_end: BTreeMap<String, Option<u64>>,
    has_seen_jobs: bool,
    looks: u64,
}

impl Bounded {
    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        self.asked.remove(&client);
        let starts = starts(text);
        self.has_seen_jobs |= !starts.is_empty();
        self.starts.insert(client, starts);
        if let Some(id) = completes(text) {
            self.asked.insert(client, id.to_owned());
        }
    }

    /// It is answered. Whoever starts a job has one of that name that nobody has asked to end.
    pub fn reply(&mut self, client: u32, text: &str) {
        let started = self.starts.remove(&client).filter(|_| text.starts_with(r#"{"return""#));
        for id in started.into_iter().flatten() {
            self.asked_to_end.remove(&id);
        }
        if let Some(id) = self.asked.remove(&client)
            && text.starts_with(r#"{"return""#)
        {
            self.asked_to_end.entry(id).or_default();
        }
    }

    /// A look at a job on a device of so many bytes. Says how it breaks the law, if it does.
    pub fn look(&mut self, seen: &Seen<'_>, device_bytes: u64) -> Option<String> {
        self.looks += 1;
        let Seen { id, status, offset } = *seen;
        if status == "running" {
            // Whatever was asked to end went by this name before.
            self.asked_to_end.remove(id);
            let is_outrun = offset > COPIES_TO_READY_MAX * device_bytes;
            return is_outrun
                .then(|| format!("job {id} copied {offset} bytes of {device_bytes} and is not in step"));
        }
        let start = *self.asked_to_end.get_mut(id)?.get_or_insert(offset);
        let copied = offset.saturating_sub(start);
        let is_outrun = copied > COPIES_TO_END_MAX * device_bytes;
        is_outrun.then(|| {
            format!(
                "job {id} was asked to end, copied {copied} bytes of {device_bytes} since, and has not ended"
            )
        })
    }

    /// Whether anybody has tried to start a job.
    pub fn has_seen_jobs(&self) -> bool {
        self.has_seen_jobs
    }

    /// How often somebody looked.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

/// The jobs that a command starts.
pub(super) fn starts(text: &str) -> Vec<String> {
    let all = std::iter::successors(after_job(text), |rest| after_job(rest));
    all.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

fn after_job(text: &str) -> Option<&str> {
    after(text, r#""job-id":""#)
}

/// The job that a command completes, if that is what it does.
fn completes(text: &str) -> Option<&str> {
    let arguments = after(text, r#"job-complete""#)?;
    let name = after(arguments, r#""id":""#).or_else(|| after(arguments, r#""device":""#))?;
    name.split_once('"').map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: &str, offset: u64) -> Seen<'_> {
        Seen { id: "j", status, offset }
    }

    #[test]
    fn a_request_is_answered_before_its_device_was_copied_eight_times() {
        let speed = Speed { request_nanos: 10, byte_nanos: 1 };
        let enough = 2 * 8 * (20 + 1024) + WAIT_NANOS_MAX;
        assert_eq!(answered_late(enough, 1024, speed), None);
        assert!(answered_late(enough + 1, 1024, speed).is_some());
        assert_eq!(answered_late(enough + 1, 1024, Speed { request_nanos: 0, byte_nanos: 0 }), None);
    }

    #[test]
    fn a_job_that_is_not_in_step_after_eight_copies_is_outrun() {
        let mut bounded = Bounded::default();
        assert_eq!(bounded.look(&seen("running", 8000), 1000), None);
        assert!(bounded.look(&seen("running", 8001), 1000).is_some());
        assert_eq!(bounded.look(&seen("ready", 80_000), 1000), None);
        assert_eq!(bounded.looks(), 3);
    }

    #[test]
    fn a_job_that_was_asked_to_end_copies_little_more() {
        for complete in [
            r#"{"execute":"job-complete","arguments":{"id":"j"}}"#,
            r#"{"execute":"block-job-complete","arguments":{"device":"j"}}"#,
        ] {
            let mut bounded = Bounded::default();
            bounded.sent(1, complete);
            bounded.reply(1, r#"{"error": {}}"#);
            assert_eq!(bounded.look(&seen("ready", 9000), 1000), None);
            assert_eq!(bounded.look(&seen("ready", 90_000), 1000), None, "it was refused");
            bounded.sent(1, complete);
            bounded.reply(1, r#"{"return": {}}"#);
            assert_eq!(bounded.look(&seen("ready", 9000), 1000), None);
            assert_eq!(bounded.look(&seen("ready", 12_000), 1000), None);
            assert!(bounded.look(&seen("ready", 12_001), 1000).is_some());
            assert_eq!(bounded.look(&seen("running", 0), 1000), None, "another job of that name");
        }
    }

    // The second job goes by the name of the first, and is ready before anybody looks.
    #[test]
    fn a_job_that_starts_was_not_asked_to_end() {
        let mut bounded = Bounded::default();
        bounded.sent(1, r#"{"execute":"job-complete","arguments":{"id":"j"}}"#);
        bounded.reply(1, r#"{"return": {}}"#);
        bounded.sent(1, r#"{"execute":"blockdev-mirror","arguments":{"device":"n","job-id":"j"}}"#);
        bounded.reply(1, r#"{"return": {}}"#);
        assert_eq!(bounded.look(&seen("ready", 0), 1000), None);
        assert_eq!(bounded.look(&seen("ready", 90_000), 1000), None);
    }
}
