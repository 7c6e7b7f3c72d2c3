//! What their engines make stays on the thread that made it. So do our runs; but a `BlockLayer` is for runtimes, too, that
//! move tasks from thread to thread, and its futures say that they may be moved.

use send_wrapper::SendWrapper;

/// A future that panics if it is polled on another thread.
pub(crate) fn on_one_thread<F: Future>(future: F) -> impl Future<Output = F::Output> + Send {
    SendWrapper::new(future)
}
