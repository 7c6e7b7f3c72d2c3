//! Verbs: what a job answers to each, and what each does to it.

use crate::command::VerbArguments;
use crate::command::plan::JobType;
use crate::command::reply::{Answer, Refusal};
use crate::graph::JobId;
use crate::job::{IoStatus, Status, Verb};
use crate::law::LawId;
use crate::rule::Rule;
use crate::step::state::State;

impl State {
    /// What a verb may be answered, by the table and by what is known of the job.
    pub(super) fn verb_answers(&self, asked: &VerbArguments, answers: &mut Vec<Answer>) {
        if self.unmodelled.iter().any(|(name, _)| *name == asked.job) {
            answers.push(Answer::Done);
            return self.perhaps(Rule::UnmodelledJobVerb, Answer::AnyError, answers);
        }
        let Some(id) = self.find_job(&asked.job) else {
            return answers.push(Answer::Refused(Refusal::NoJob(asked.job.clone(), asked.block_job)));
        };
        let job = self.job(id);
        let admitted = if job.status.admits(asked.verb) {
            Answer::Done
        } else {
            Answer::Refused(Refusal::WrongStatus(id, job.status, asked.verb))
        };
        let accepted = admitted == Answer::Done;
        let paused = |answers: &mut Vec<Answer>, if_paused: Answer, if_not: Answer| {
            answers.push(if job.paused { if_paused } else { if_not });
        };
        match asked.verb {
            Verb::Pause if accepted => paused(answers, Answer::Refused(Refusal::AlreadyPaused), Answer::Done),
            Verb::Resume => paused(answers, admitted, Answer::Refused(Refusal::NotPaused)),
            Verb::Cancel if asked.block_job && !asked.force => {
                paused(answers, Answer::Refused(Refusal::CurrentlyPaused(id)), admitted);
            }
            Verb::SetSpeed if accepted && asked.speed < 0 => {
                answers.push(Answer::Refused(Refusal::NegativeSpeed));
            }
            Verb::Change if accepted && job.plan.kind() != crate::job::Kind::Mirror => {
                answers.push(Answer::Refused(Refusal::NothingToChange));
            }
            Verb::Change if accepted => {
                answers.push(Answer::Done);
                self.perhaps(Rule::ChangeRefused, Answer::AnyError, answers);
            }
            Verb::Complete if accepted && (job.cancelled || job.soft_cancelled) => {
                answers.push(Answer::Refused(Refusal::Named(
                    "The active block job '",
                    asked.job.clone(),
                    "' cannot be completed",
                )));
                self.perhaps(Rule::CompleteAfterCancel, Answer::Done, answers);
            }
            _ => answers.push(admitted),
        }
    }

    /// A verb is carried out, if it may be. A cancel that comes late may still be in time or not: then there is another way.
    pub(super) fn verb_takes_effect(&mut self, verb: &VerbArguments, more: &mut Vec<State>) -> bool {
        let mut answers = Vec::new();
        self.verb_answers(verb, &mut answers);
        if !answers.contains(&Answer::Done) {
            return false;
        }
        let Some(id) = self.find_job(&verb.job) else { return true };
        let job = self.job(id);
        let is_soft = job.is_ready() && !verb.force;
        // A job that is finalizing itself may be past the point where it can be stopped.
        let is_in_time = job.is_at_work() || job.status == Status::Pending && !self.may_finalize(id);
        let is_late = !is_in_time && self.allows(Rule::LateCancel);
        if verb.verb == Verb::Cancel && !is_soft && is_late && !job.cancelled {
            let mut too_late = self.clone();
            too_late.job_mut(id).paused = false;
            more.push(too_late);
        }
        self.apply_verb(id, verb);
        true
    }

    fn apply_verb(&mut self, id: JobId, verb: &VerbArguments) {
        let job = self.job_mut(id);
        let mut kind = None;
        let goal = match verb.verb {
            Verb::Pause => {
                job.drained = !job.paused && matches!(job.status, Status::Paused | Status::Standby);
                job.paused = true;
                LawId::JobPaused
            }
            Verb::Resume => {
                job.paused = false;
                job.io_status = IoStatus::Ok;
                let stopped = std::mem::replace(&mut job.stopped, false);
                if stopped { LawId::StoppedResumed } else { LawId::JobResumed }
            }
            Verb::Cancel if job.is_ready() && !verb.force => {
                // Who was asked to complete before pivots all the same.
                job.soft_cancelled = true;
                job.paused = false;
                return;
            }
            Verb::Cancel => {
                job.cancelled = true;
                // Whoever stopped at an error is resumed, which forgets the error.
                if std::mem::replace(&mut job.paused, false) {
                    job.io_status = IoStatus::Ok;
                }
                kind = cancelled(job.plan.job_type());
                cancelled_in(job.status)
            }
            Verb::SetSpeed => {
                job.speed = verb.speed;
                LawId::SpeedChanged
            }
            Verb::Finalize => {
                job.finalize_asked = true;
                LawId::FinalizedByHand
            }
            Verb::Dismiss => {
                job.dismiss_asked = true;
                LawId::DismissedByHand
            }
            Verb::Complete => {
                job.complete_asked = true;
                return;
            }
            Verb::Change => return,
        };
        self.count(goal);
        if let Some(kind) = kind {
            self.count(kind);
        }
        if verb.verb == Verb::Finalize {
            self.finalizing(id);
        }
    }
}

/// The goal of whoever cancels a job of this type, if it has one of its own.
fn cancelled(job_type: JobType) -> Option<LawId> {
    match job_type {
        JobType::Stream => None,
        JobType::Commit | JobType::ActiveCommit => Some(LawId::CommitCancelled),
        JobType::Mirror => Some(LawId::MirrorCancelled),
        JobType::Backup => Some(LawId::BackupCancelled),
    }
}

/// The goal of whoever cancels a job in this status.
fn cancelled_in(status: Status) -> LawId {
    match status {
        Status::Ready | Status::Standby => LawId::CancelledReady,
        Status::Paused => LawId::CancelledPaused,
        Status::Pending => LawId::CancelledPending,
        _ => LawId::CancelledRunning,
    }
}
