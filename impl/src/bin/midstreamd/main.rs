//! The daemon: the engine on real files, spoken to in QMP over unix sockets, its nodes offered over NBD.
//!
//! It takes the options of qemu-storage-daemon that it can honour, and ends on `quit`, SIGTERM or SIGINT with every
//! job ended, every image flushed, and its sockets and pidfile gone; the status says whether the last flushes went well.

mod background;
mod command_line;
mod options;
mod pid_file;
mod place;
mod serve;
mod set_up;
mod signals;
mod socket;

use block::engine::{Engine, NOT_DURABLE, Tuning};
use block::os::confine::Confinement;
use block::os::{OsHost, program_name};
use block::qmp::Monitor;
use command_line::{CommandLine, Wish};
use pid_file::PidFile;
use place::Places;
use seam::escape::{lines, one_line};
use set_up::SetUp;
use socket::Endpoint;
use std::backtrace::BacktraceStatus;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;

/// How long clients have to take the last lines before the daemon leaves without them.
const GOODBYE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    stop_the_process_on_panic();
    let ended = match command_line::parse(std::env::args_os().skip(1)) {
        Ok(Wish::Help) => {
            print!("Usage: {} [options]\n{}", program_name(), command_line::HELP);
            Ok(ExitCode::SUCCESS)
        }
        Ok(Wish::Version) => {
            println!("{} version {}", program_name(), env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
        Ok(Wish::Run(line)) if line.daemonize && !line.is_background => background::start(),
        Ok(Wish::Run(line)) => run(&Arc::new(line)),
        Err(text) => Err(text),
    };
    ended.unwrap_or_else(|text| {
        complain(&text);
        ExitCode::FAILURE
    })
}

/// Says what is wrong, on a line of its own, whatever names others chose.
fn complain(text: &str) {
    eprintln!("{}: {}", program_name(), one_line(text));
}

/// A broken invariant in a task ends the daemon; going on without the task could harm the images.
fn stop_the_process_on_panic() {
    std::panic::set_hook(Box::new(move |panic| {
        // Its message may hold names and texts that others chose.
        eprintln!("{}: {}", program_name(), lines(&panic.to_string()));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            eprintln!("{backtrace}");
        }
        std::process::abort();
    }));
}

/// Requests go down chains of nodes by calls within calls, and chains are as deep as the engine lets them be.
const STACK_BYTES: usize = 8 << 20;
/// I/O that waits for the host at a time.
const BLOCKING_THREADS_MAX: usize = 64;

fn run(line: &Arc<CommandLine>) -> Result<ExitCode, String> {
    if line.is_background {
        background::leave_session();
    }
    let cannot_start = |e: std::io::Error| format!("cannot start: {e}");
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(cannot_start)?;
    // On a thread of the runtime: it has the stack that was asked for.
    let lived = runtime.spawn(live(Arc::clone(line), runtime.handle().clone()));
    runtime.block_on(lived).expect("a panic would have ended the process")
    // Dropping the runtime waits for I/O under way.
}

async fn live(line: Arc<CommandLine>, runtime: Handle) -> Result<ExitCode, String> {
    let confine = |folder: &PathBuf| {
        Confinement::to(folder).map_err(|why| format!("--confine {}: {why}", folder.display()))
    };
    let confinement = line.confine.as_ref().map(confine).transpose()?;
    let host = OsHost::within(runtime, confinement.clone());
    let usual = Tuning::default();
    let memory_bytes = line.memory_budget.unwrap_or(usual.memory_bytes);
    let engine = Engine::new(host, Tuning { memory_bytes, ..usual });
    let stop = Arc::new(Notify::new());
    signals::watch(&engine, &stop)?;
    // What the start has made is undone in the end, however it went.
    let started = start(&line, &engine, Places(confinement)).await;
    let (clients, started, _made) = match started {
        Ok((mut set_up, pid_file)) => {
            let clients = serve_all(std::mem::take(&mut set_up.monitors), &engine, &stop);
            stop.notified().await;
            (clients, Ok(()), Some((set_up, pid_file)))
        }
        Err(text) => (Vec::new(), Err(text), None),
    };
    end(&engine, clients).await;
    started?;
    Ok(match engine.lost() {
        None => ExitCode::SUCCESS,
        Some(errno) => {
            complain(&format!("{NOT_DURABLE}: {errno}"));
            ExitCode::FAILURE
        }
    })
}

/// Everything the command line asks for. A client that comes early waits in the kernel's queue and loses nothing.
async fn start(
    line: &CommandLine,
    engine: &Arc<Engine>,
    places: Places,
) -> Result<(SetUp, Option<PidFile>), String> {
    let mut set_up = SetUp::new(places);
    for (act, text) in &line.acts {
        set_up.act(engine, *act, text).await?;
    }
    let pid_file = set_up.pid_file(line.pidfile.as_deref())?;
    if line.is_background {
        background::say_ready()?;
    }
    Ok((set_up, pid_file))
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

/// Ends the engine first, so that clients still learn how their jobs ended.
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
