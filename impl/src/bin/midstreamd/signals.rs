//! SIGTERM and SIGINT: the first ends everything, soon; a second one, or too long an end, ends it now.
//!
//! They are handled on a thread of their own, so that no work, whatever it is, is in their way.

use crate::complain;
use block::engine::Engine;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// How long an end that was asked for by a signal may take: what is written by then is flushed.
const END_MAX: Duration = Duration::from_secs(4);
/// The status of an end that was cut short.
const CUT_SHORT: i32 = 1;

/// From now on signals are handled; the first makes the engine hurry and notifies `stop`.
pub fn watch(engine: &Arc<Engine>, stop: &Arc<Notify>) -> Result<(), String> {
    let failed = |e: io::Error| format!("cannot catch signals: {e}");
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        let caught = |kind| signal(kind).map_err(failed);
        (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?)
    };
    let (engine, stop) = (Arc::clone(engine), Arc::clone(stop));
    let watching = async move {
        either(&mut terminate, &mut interrupt).await;
        engine.hurry();
        stop.notify_one();
        let again = tokio::time::timeout(END_MAX, either(&mut terminate, &mut interrupt)).await;
        let why = if again.is_ok() { "a second signal" } else { "the end takes too long" };
        complain(&format!("ended at once: {why}"));
        std::process::exit(CUT_SHORT);
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(move || runtime.block_on(watching)).map(|_runs_to_the_end| ()).map_err(failed)
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
