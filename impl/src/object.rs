//! Objects beside the graph, made by the operator and used by nodes and exports: throttle groups, I/O threads.

use crate::error::{Refused, is_well_formed_id};
use crate::sync::shim::Mutex;
use crate::throttle::Limits;
use crate::throttle::group::Group;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `object-add`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectOptions {
    /// `id`.
    pub id: String,
    /// What it is.
    pub kind: ObjectKind,
}

/// Kinds of objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    /// Limits that several throttle nodes share.
    ThrottleGroup(Limits),
    /// Taken for the sake of those who name one: our requests run on all threads anyway.
    IoThread,
}

/// An object that was made.
#[derive(Debug)]
pub enum Object {
    /// Limits, and how far they are used up.
    ThrottleGroup(Box<Group>),
    /// See [`ObjectKind::IoThread`].
    IoThread,
}

/// Every object by its id. Who uses one holds its `Arc`.
#[derive(Debug, Default)]
pub struct Objects(Mutex<BTreeMap<String, Arc<Object>>>);

impl Objects {
    /// `object-add`.
    pub fn add(&self, options: ObjectOptions) -> Result<(), Refused> {
        if !is_well_formed_id(&options.id) {
            return Err(Refused::InvalidObjectId);
        }
        if let ObjectKind::ThrottleGroup(limits) = &options.kind {
            limits.admit()?;
        }
        let mut objects = self.0.lock();
        if objects.contains_key(&options.id) {
            return Err(Refused::DuplicateObjectId(options.id));
        }
        let object = match options.kind {
            ObjectKind::ThrottleGroup(limits) => Object::ThrottleGroup(Box::new(Group::new(limits))),
            ObjectKind::IoThread => Object::IoThread,
        };
        objects.insert(options.id, Arc::new(object));
        Ok(())
    }

    /// `object-del`.
    pub fn remove(&self, id: &str) -> Result<(), Refused> {
        let mut objects = self.0.lock();
        let object = objects.get(id).ok_or_else(|| Refused::ObjectNotFound(id.to_owned()))?;
        if Arc::strong_count(object) > 1 {
            return Err(Refused::ObjectInUse(id.to_owned()));
        }
        objects.remove(id);
        Ok(())
    }

    /// The object of this id.
    pub fn find(&self, id: &str) -> Option<Arc<Object>> {
        self.0.lock().get(id).cloned()
    }
}
