//! Verbs: what a job answers to each, and what each does to it.

use super::Model;
use super::client::Pending;
use crate::chain::JobId;
use crate::command::VerbArguments;
use crate::job::{Status, Verb};
use crate::law::{Broken, LawId};
use crate::plan::Trade;
use crate::record::Known;
use crate::reply::{Answer, Refusal};

impl Model {
    /// What a verb may be answered, by the table and by what is known of the job.
    pub(super) fn verb_answers(&self, asked: &VerbArguments, answers: &mut Vec<Answer>) {
        if self.strangers.iter().any(|(name, _)| *name == asked.job) {
            return answers.extend([Answer::Done, Answer::AnyError]);
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
        let paused = |answers: &mut Vec<Answer>, if_paused: Answer, if_not: Answer| match job.paused {
            Known::Yes => answers.push(if_paused),
            Known::No => answers.push(if_not),
            Known::Maybe => answers.extend([if_paused, if_not]),
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
            Verb::Change if accepted => answers.extend([Answer::Done, Answer::AnyError]),
            Verb::Complete if accepted && (job.cancelled, job.soft_cancelled) != (Known::No, Known::No) => {
                answers.push(Answer::Refused(Refusal::Named(
                    "The active block job '",
                    asked.job.clone(),
                    "' cannot be completed",
                )));
                answers.push(Answer::Done);
            }
            _ => answers.push(admitted),
        }
    }

    pub(super) fn verb_accepted(
        &mut self,
        client: usize,
        pending: &Pending,
        verb: &VerbArguments,
    ) -> Result<(), Broken> {
        if pending.taken {
            return Ok(());
        }
        let mut answers = Vec::new();
        self.verb_answers(verb, &mut answers);
        let now = answers.contains(&Answer::Done);
        if !now && !pending.earlier.contains(&Answer::Done) {
            return Err(self.not_allowed(client, pending));
        }
        let Some(id) = self.find_job(&verb.job) else { return Ok(()) };
        let job = self.job(id);
        let became_ready = job.is_ready() && job.had_since(Status::Running, pending.sent);
        if verb.verb == Verb::Cancel && became_ready {
            // What the job was when the command was carried out nobody knows: one that is not ready is ended for good.
            self.apply_verb(id, verb, false);
            let job = self.job_mut(id);
            job.cancelled = job.cancelled.at_least_maybe();
        } else {
            self.apply_verb(id, verb, now);
        }
        Ok(())
    }

    /// A verb takes effect. If the moment is not known for `certain`, so is not what it did.
    pub(super) fn apply_verb(&mut self, id: JobId, verb: &VerbArguments, certain: bool) {
        let job = self.job_mut(id);
        let status = job.status;
        let mut kind = None;
        let goal = match verb.verb {
            Verb::Pause => {
                job.paused = if certain { Known::Yes } else { Known::Maybe };
                LawId::JobPaused
            }
            Verb::Resume => {
                let stopped = std::mem::replace(&mut job.stopped, false);
                job.paused = if certain { Known::No } else { Known::Maybe };
                if stopped { LawId::StoppedResumed } else { LawId::JobResumed }
            }
            Verb::Cancel if job.is_ready() && !verb.force => {
                // Who was told to complete before pivots all the same.
                job.soft_cancelled = if certain { Known::Yes } else { Known::Maybe };
                job.paused = if certain { Known::No } else { Known::Maybe };
                return;
            }
            Verb::Cancel => {
                // A job that is finalizing itself may be past the point where it can be stopped.
                let in_time = job.is_at_work() || (status == Status::Pending && !job.may_finalize());
                job.cancelled = if certain && in_time { Known::Yes } else { job.cancelled.at_least_maybe() };
                job.paused = if certain { Known::No } else { Known::Maybe };
                match job.plan.trade() {
                    Trade::Stream => {}
                    Trade::Commit | Trade::ActiveCommit => kind = Some(LawId::CommitCancelled),
                    Trade::Mirror => kind = Some(LawId::MirrorCancelled),
                    Trade::Backup => kind = Some(LawId::BackupCancelled),
                }
                match status {
                    Status::Ready | Status::Standby => LawId::CancelledReady,
                    Status::Paused => LawId::CancelledPaused,
                    Status::Pending => LawId::CancelledPending,
                    _ => LawId::CancelledRunning,
                }
            }
            Verb::SetSpeed => {
                if certain {
                    job.speeds.clear();
                }
                job.speeds.push(verb.speed);
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
                job.complete_asked = if certain { Known::Yes } else { Known::Maybe };
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
