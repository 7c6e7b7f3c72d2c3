//! Turns for tests' layers, which have no runtime to wait in.

use std::sync::Mutex;
use std::task::{Poll, Waker};

/// Whose turn it is to flush: an older flush that lands late would write over a newer one.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Mutex<bool>,
    waiting: Mutex<Vec<Waker>>,
}

pub struct Turn<'a>(&'a Turns);

impl Turns {
    pub async fn take(&self) -> Turn<'_> {
        std::future::poll_fn(|context| {
            if !std::mem::replace(&mut *self.taken.lock().unwrap(), true) {
                return Poll::Ready(Turn(self));
            }
            self.waiting.lock().unwrap().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap() = false;
        self.0.waiting.lock().unwrap().drain(..).for_each(Waker::wake);
    }
}
