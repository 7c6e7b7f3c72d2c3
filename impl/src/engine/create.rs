//! `blockdev-create`: a job of its own kind that makes a file, or an image on a node. No `block-job-*` command knows it.
//!
//! The job waits to be dismissed, and its error says why nothing was made.

mod file;
mod qcow2;

use super::Engine;
use super::opening::{Draft, Opener};
use crate::command::{ChildOptions, JobOptions, NewImage};
use crate::error::Refused;
use crate::graph::UserKind;
use crate::id::{NodeId, UserId};
use crate::io::node_disk::NodeDisk;
use crate::job::life::{CREATE, Failure, Job, NewJob, Outcome};
use crate::job::task::Task;
use crate::permission::Set;
use seam::Disk;
use std::sync::Arc;

impl Engine {
    /// `blockdev-create`.
    pub(crate) fn blockdev_create(self: &Arc<Self>, job_id: &str, image: NewImage) -> Result<(), Refused> {
        let options =
            JobOptions { id: Some(job_id.to_owned()), manual_dismiss: true, ..JobOptions::default() };
        let job = self.make_job(NewJob { kind: CREATE, options, len: 1, group: None, mirror: None })?;
        self.start_job(job.clone(), Create { job, engine: self.clone(), image });
        Ok(())
    }

    /// Finds the node on which something is to be made, or opens it.
    async fn open_storage(&self, child: &ChildOptions) -> Result<NewStorage<'_>, Refused> {
        match child {
            ChildOptions::Reference(name) => Ok(NewStorage { draft: None, node: self.graph().lookup(name)? }),
            ChildOptions::Inline(options) => {
                let mut draft = Draft::new(self);
                let node = draft.open(options, Opener::Operator).await?;
                Ok(NewStorage { draft: Some(draft), node })
            }
        }
    }

    /// Becomes a writer of the node, who may change its length and lets others do what they like.
    async fn take_storage(&self, storage: &NewStorage<'_>) -> Result<(UserId, Arc<dyn Disk>), Refused> {
        let node = storage.node;
        let (taken, dropped) = self.try_edit(|graph| {
            if let Some(draft) = &storage.draft {
                draft.put_into(graph)?;
            }
            if graph.place(graph.unfiltered(node)).read_only {
                return Err(Refused::ReadOnly);
            }
            let user = graph.add_user(node, UserKind::Guest, Set::WRITE.and(Set::RESIZE), Set::ALL);
            graph.admit_permissions_and_writers(&|_| false)?;
            Ok((user, graph.next_node_id()))
        })?;
        assert!(dropped.is_empty(), "a writer who comes drops {dropped:?}");
        let (user, parent) = taken;
        let written = storage.draft.as_ref().map_or(&[][..], |draft| &draft.written);
        let graph = self.graph();
        let opened = match self.open_for_writing(written).await {
            Ok(_in_the_graph) => self.open_for_writer(&graph, node).await,
            refused => refused,
        };
        if let Err(refused) = opened {
            self.leave_storage(user).await;
            return Err(refused);
        }
        let disk = NodeDisk::new(&self.graph, &self.graph(), parent, crate::graph::node::Link::File, node);
        Ok((user, disk))
    }

    /// What was opened for this alone is closed again.
    async fn leave_storage(&self, user: UserId) {
        let dropped = self.edit(|graph| graph.remove_user(user));
        self.close(dropped).await;
    }
}

/// Where an image is to be made.
#[derive(Debug)]
struct NewStorage<'e> {
    /// It was opened for this, and is not in the graph yet.
    draft: Option<Draft<'e>>,
    node: NodeId,
}

impl NewStorage<'_> {
    /// Its name, as a header has it.
    fn filename(&self, engine: &Engine) -> String {
        match &self.draft {
            Some(draft) => draft.graph.filename(self.node),
            None => engine.graph().filename(self.node),
        }
    }
}

struct Create {
    job: Arc<Job>,
    engine: Arc<Engine>,
    image: NewImage,
}

impl Task for Create {
    async fn work(&mut self) -> Result<(), Outcome> {
        let made = match &self.image {
            NewImage::File(file) => self.engine.make_file(file).await,
            NewImage::Qcow2(image) => self.engine.make_qcow2(image).await,
        };
        // There is one thing to do, and it was tried.
        self.job.advance(1);
        made.map_err(|refused| Failure::Because(refused.to_string().into()).into())
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn abort(&mut self) {}

    async fn clean(&mut self) {}
}
