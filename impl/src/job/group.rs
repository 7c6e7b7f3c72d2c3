//! Jobs that take effect together or not at all: a grouped transaction.
//!
//! None is `pending` before all are `waiting`; all take effect before one concludes well; the first that fails or is
//! cancelled takes the others with it. A group's lock is taken before those of its jobs.

use super::life::{Cancelled, Job};
use super::state::{Finalize, State};
use super::status::Status;
use crate::sync::shim::Mutex;
use std::sync::{Arc, Weak};

/// The jobs of one group. All of them join before the first starts.
#[derive(Debug, Default)]
pub struct Group {
    /// A job holds its group, so the group does not hold its jobs.
    members: Mutex<Vec<Weak<Job>>>,
}

impl Group {
    /// A group without jobs.
    pub fn new() -> Arc<Group> {
        Arc::default()
    }

    /// Another job belongs to it.
    pub(super) fn add(&self, job: &Arc<Job>) {
        self.members.lock().push(Arc::downgrade(job));
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
                    job.become_pending(&mut job.life.lock(), at_once);
                }
            }
        });
    }

    /// An operator lets one of them take effect: all do.
    pub(super) fn finalize_all(&self) {
        self.with_members(|jobs| jobs.iter().for_each(|job| job.let_take_effect(&mut job.life.lock())));
    }

    /// One more took effect; when all have, none can fail any more.
    pub(super) fn one_is_prepared(&self, job: &Job) -> Result<(), Cancelled> {
        let mut result = Ok(());
        self.with_members(|jobs| {
            let mut life = job.life.lock();
            if life.state == State::Pending(Finalize::Cancelled) {
                result = Err(Cancelled);
                return;
            }
            job.become_(&mut life, State::Pending(Finalize::Prepared));
            drop(life);
            if jobs.iter().all(|job| job.life.lock().state == State::Pending(Finalize::Prepared)) {
                for job in jobs {
                    job.become_(&mut job.life.lock(), State::Pending(Finalize::Granted));
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
                        panic!("job {} is cancelled by its group, which has taken effect", job.id)
                    }
                    State::Pending(_) => job.become_(&mut life, State::Pending(Finalize::Cancelled)),
                    _ if life.state.status() < Status::Aborting => {
                        job.force_to_end(&mut life);
                    }
                    _ => {}
                }
            }
        });
    }
}
