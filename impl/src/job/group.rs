//! Jobs that commit together or not at all: a grouped transaction.
//!
//! None is `pending` before all are `waiting`; all commit before one concludes well; the first that fails or is
//! cancelled takes the others with it. A group's lock is taken before those of its jobs.

use super::life::{Cancelled, Job};
use super::state::{Finalize, State};
use super::status::Status;
use crate::sync::shim::Mutex;
use std::sync::{Arc, Weak};

/// The jobs of one group. All of them join before the first starts.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// A job holds its group, so the group does not hold its jobs.
    members: Mutex<Vec<Weak<Job>>>,
}

impl Group {
    /// A group without jobs.
    pub(crate) fn new() -> Arc<Group> {
        Arc::default()
    }

    /// Another job belongs to it.
    pub(super) fn add(&self, job: &Arc<Job>) {
        let mut members = self.members.lock();
        // Who comes once another has started could find it waiting for nobody.
        let has_started = |job: Arc<Job>| job.life.lock().state != State::Created;
        assert!(!members.iter().filter_map(Weak::upgrade).any(has_started), "job {} joins late", job.id);
        members.push(Arc::downgrade(job));
    }

    /// Every job that still lives, with nothing changing in between.
    fn with_members(&self, act: impl FnOnce(&[Arc<Job>])) {
        let members = self.members.lock();
        let living: Vec<Arc<Job>> = members.iter().filter_map(Weak::upgrade).collect();
        act(&living);
    }

    /// One more job is `waiting`; when all are, all become `pending`.
    pub(super) fn one_waits(&self) {
        self.with_members(|jobs| {
            let is_waiting = |job: &Arc<Job>| job.life.lock().state == State::Waiting { cancelled: false };
            if jobs.iter().all(is_waiting) {
                let at_once = !jobs.iter().any(|job| job.manual_finalize);
                for job in jobs {
                    job.enter_pending(&mut job.life.lock(), at_once);
                }
            }
        });
    }

    /// An operator commits one of them: all do.
    pub(super) fn finalize_all(&self) {
        self.with_members(|jobs| jobs.iter().for_each(|job| job.let_take_effect(&mut job.life.lock())));
    }

    /// One more has committed; when all have, none can fail any more.
    pub(super) fn one_is_prepared(&self, job: &Job) -> Result<(), Cancelled> {
        let mut result = Ok(());
        self.with_members(|jobs| {
            let mut life = job.life.lock();
            if life.state == State::Pending(Finalize::Cancelled) {
                result = Err(Cancelled);
                return;
            }
            job.transition(&mut life, State::Pending(Finalize::Prepared));
            drop(life);
            if jobs.iter().all(|job| job.life.lock().state == State::Pending(Finalize::Prepared)) {
                for job in jobs {
                    job.transition(&mut job.life.lock(), State::Pending(Finalize::Granted));
                }
            }
        });
        result
    }

    /// One of them failed or was cancelled: so are the others.
    pub(super) fn cancel_all(&self) {
        self.with_members(|jobs| {
            for job in jobs {
                let mut life = job.life.lock();
                match life.state {
                    State::Pending(Finalize::Granted) => {
                        panic!("job {} is cancelled by its group, which has committed", job.id)
                    }
                    State::Pending(_) => job.transition(&mut life, State::Pending(Finalize::Cancelled)),
                    _ if life.state.status() < Status::Aborting => {
                        job.force_to_end(&mut life);
                    }
                    _ => {}
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::life::{NewJob, Outcome};
    use super::*;
    use crate::command::Family;
    use crate::command::JobOptions;
    use crate::core::events::Events;
    use crate::id::JobSerial;
    use seam::{Disk, Errno, Host, IoResult, Nanos, OpenMode, Pending, WallClock};
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// A world in which nothing is and nothing happens.
    #[derive(Debug)]
    struct Nowhere;

    impl Host for Nowhere {
        fn open(&self, _path: &str, _mode: OpenMode) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
            Box::pin(std::future::ready(Err(Errno::ENOENT)))
        }
        fn create(&self, _path: &str) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
            Box::pin(std::future::ready(Err(Errno::EROFS)))
        }
        fn canonical(&self, _path: &str) -> Option<String> {
            None
        }
        fn absolute(&self, path: &str) -> String {
            path.to_owned()
        }
        fn now(&self) -> Nanos {
            Nanos(0)
        }
        fn wall_clock(&self) -> WallClock {
            WallClock::default()
        }
        fn sleep_until(&self, _deadline: Nanos) -> Pending<'static, ()> {
            Box::pin(std::future::pending())
        }
        fn spawn(&self, name: &str, _task: Pending<'static, ()>) {
            panic!("{name} is begun nowhere");
        }
    }

    /// Two jobs of one group, at work.
    fn two(manual_finalize: bool) -> [Arc<Job>; 2] {
        let events = Arc::new(Events::new(Arc::new(Nowhere)));
        let group = Group::new();
        let jobs = [1, 2].map(|serial| {
            let id = Some(format!("j{serial}"));
            let options = JobOptions { id, speed: 0, manual_finalize, manual_dismiss: true };
            let new = NewJob { kind: "backup", options, len: 0, group: Some(group.clone()), mirror: None };
            Job::create(JobSerial(serial), new, events.clone())
        });
        jobs.iter().for_each(|job| job.start());
        jobs
    }

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn none_is_pending_before_all_are_waiting_and_all_take_effect_before_one_concludes() {
        let [one, other] = two(false);
        assert_eq!(one.work_done(), Ok(true));
        assert_eq!(one.status(), Status::Waiting);
        assert_eq!(poll(one.finalized()), Poll::Pending);
        assert_eq!(other.work_done(), Ok(true));
        assert_eq!([one.status(), other.status()], [Status::Pending; 2]);
        assert_eq!(poll(one.finalized()), Poll::Ready(Ok(())));
        let mut prepared = pin!(one.prepared());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(prepared.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(poll(other.prepared()), Poll::Ready(Ok(())));
        assert_eq!(prepared.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    }

    #[test]
    fn finalizing_one_finalizes_all() {
        let [one, other] = two(true);
        assert_eq!([one.work_done(), other.work_done()], [Ok(true); 2]);
        assert_eq!(poll(other.finalized()), Poll::Pending);
        assert_eq!(one.finalize(), Ok(()));
        assert_eq!(poll(other.finalized()), Poll::Ready(Ok(())));
    }

    #[test]
    fn the_first_that_fails_takes_the_others_with_it_wherever_they_are() {
        let [one, other] = two(false);
        assert_eq!(one.work_done(), Ok(true));
        other.abort(Outcome::Cancelled);
        assert_eq!(poll(one.finalized()), Poll::Ready(Err(Cancelled)));

        let [one, other] = two(false);
        one.abort(Outcome::Cancelled);
        assert_eq!(other.pause_point(), Err(Cancelled));

        // One has committed already, the other cannot.
        let [one, other] = two(false);
        assert_eq!([one.work_done(), other.work_done()], [Ok(true); 2]);
        let mut prepared = pin!(one.prepared());
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(prepared.as_mut().poll(&mut context), Poll::Pending);
        other.abort(Outcome::Cancelled);
        assert_eq!(prepared.as_mut().poll(&mut context), Poll::Ready(Err(Cancelled)));
    }

    #[test]
    fn a_cancel_of_one_that_waits_cancels_the_others() {
        let [one, other] = two(false);
        assert_eq!(one.work_done(), Ok(true));
        assert!(one.cancel(Family::Job, true).is_ok());
        assert_eq!(poll(one.finalized()), Poll::Ready(Err(Cancelled)));
        assert_eq!(other.pause_point(), Err(Cancelled));
    }
}
