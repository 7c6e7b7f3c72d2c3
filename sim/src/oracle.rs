//! Watches the engine and walks the model beside it: the only place that knows both.
//!
//! It turns what happens into observations, in the order in which it happens, feeds them to the model, and keeps the
//! history: its fingerprint always, its readable lines when asked. The first broken law stops the world.

use crate::crash::Ending;
use crate::fault::Fault;
use crate::host::SimHost;
use crate::workload::guest::Operation;
use crate::workload::image::Tag;
use block::error::Refused;
use block::event::{Event, EventSink};
use block::host::{Errno, IoResult, WallClock};
use block::qmp::event_text;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
