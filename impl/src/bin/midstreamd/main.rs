//! The daemon: the engine on real files, spoken to in QMP over unix sockets.
//!
//! It takes the options of qemu-storage-daemon that it can honour, and ends on `quit`, SIGTERM or SIGINT with every
//! job ended, every image flushed, and its sockets and pidfile gone.

mod options;
mod serve;
mod socket;

use block::engine::{Engine, Tuning};
use block::os::OsHost;
use block::qmp::schema::{BLOCKDEV_OPTIONS, exports};
use block::qmp::types::Object;
use block::qmp::{Monitor, check, dispatch, export_options};
use clap::Parser;
use options::Options;
use socket::{Endpoint, PidFile};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// How long clients have to take the last lines before the daemon leaves without them.
const GOODBYE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    stop_the_process_on_panic();
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("midstreamd: {text}");
            ExitCode::FAILURE
        }
    }
}

/// A broken invariant in a task ends the daemon; going on without the task could harm the images.
fn stop_the_process_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn run(options: &Options) -> Result<(), String> {
    // Sockets first: a client that comes early waits in the kernel's queue and loses nothing.
    let endpoints = options.endpoints()?;
    let runtime = Runtime::new().map_err(|e| format!("cannot start: {e}"))?;
    runtime.block_on(live(options, endpoints, &runtime))
    // Dropping the runtime waits for I/O under way.
}

async fn live(options: &Options, endpoints: Vec<Endpoint>, runtime: &Runtime) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot catch SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("cannot catch SIGINT: {e}"))?;
    let engine = Engine::new(OsHost::new(runtime.handle().clone()), Tuning::default());
    let started = set_up(options, &engine).await;
    let pid_file = match &started {
        Ok(()) => options.pidfile.as_deref().map(PidFile::create).transpose(),
        Err(_) => Ok(None),
    };
    if let (Ok(()), Ok(_)) = (&started, &pid_file) {
        let quit = Arc::new(Notify::new());
        let clients = serve_all(endpoints, &engine, &quit);
        tokio::select! {
            () = quit.notified() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        end(&engine, clients).await;
    } else {
        engine.quit().await;
    }
    pid_file.map(drop)?;
    started
}

async fn set_up(options: &Options, engine: &Arc<Engine>) -> Result<(), String> {
    obey(engine, "object", &options.object, "object-add", "qom-type", &exports::OBJECT_OPTIONS).await?;
    for text in &options.nbd_server {
        let failed = |why: String| format!("--nbd-server {text}: {why}");
        let arguments = options::arguments(text, "", &exports::SERVER_OPTIONS_FLAT).map_err(failed)?;
        check::check(&arguments, &exports::SERVER_OPTIONS_FLAT).map_err(|e| failed(e.to_string()))?;
        let server = export_options::server_flat(&arguments).map_err(|e| failed(e.description))?;
        engine.nbd_server_start(&server).map_err(|refused| failed(refused.to_string()))?;
    }
    obey(engine, "blockdev", &options.blockdev, "blockdev-add", "driver", &BLOCKDEV_OPTIONS).await?;
    obey(engine, "export", &options.export, "block-export-add", "type", &exports::EXPORT_OPTIONS).await
}

/// Does the command an option stands for, as often as the option is there.
async fn obey(
    engine: &Arc<Engine>,
    option: &str,
    texts: &[String],
    command: &str,
    implied: &str,
    expected: &'static Object,
) -> Result<(), String> {
    for text in texts {
        let failed = |why: String| format!("--{option} {text}: {why}");
        let arguments = options::arguments(text, implied, expected).map_err(failed)?;
        let done = dispatch::run_named(engine, command, arguments).await;
        done.map_err(|refusal| failed(refusal.description))?;
    }
    Ok(())
}

/// One connection point being served.
struct Client {
    monitor: Arc<Monitor>,
    task: tokio::task::JoinHandle<()>,
}

fn serve_all(endpoints: Vec<Endpoint>, engine: &Arc<Engine>, quit: &Arc<Notify>) -> Vec<Client> {
    let serve = |endpoint| {
        let monitor = Monitor::new(Arc::clone(engine));
        let task = tokio::spawn(serve::serve(endpoint, Arc::clone(&monitor), Arc::clone(quit)));
        Client { monitor, task }
    };
    endpoints.into_iter().map(serve).collect()
}

/// Ends the engine first, so that clients still hear how their jobs ended.
async fn end(engine: &Arc<Engine>, clients: Vec<Client>) {
    {
        let _alone = engine.commands().drain().await;
        engine.quit().await;
    }
    for client in &clients {
        client.monitor.close();
    }
    let mut tasks: Vec<_> = clients.into_iter().map(|client| client.task).collect();
    let farewell = async {
        for task in &mut tasks {
            task.await.expect("a panic would have ended the process");
        }
    };
    if tokio::time::timeout(GOODBYE, farewell).await.is_err() {
        tasks.iter().for_each(|task| task.abort());
    }
}
