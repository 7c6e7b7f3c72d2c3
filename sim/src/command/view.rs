//! `midstream view`: the pages of all runs in a folder, for a browser on this machine.

use super::show::run::{compared, page_of};
use super::{Exit, refuse};
use crate::html::{self, index};
use clap::Args;
use midstream::campaign::Subject;
use seam::escape::one_line;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tiny_http::{Header, Request, Response, Server};

/// No more files are listed.
const FILES_MAX: usize = 2_000;
/// How soon an interrupt is noticed.
const TICK: Duration = Duration::from_millis(200);

/// Show the runs of a folder in a browser: traces and histories, each as a page, and two beside each other.
///
/// Answers on this machine's loopback only, and only to who asks for it by that address. Ends with Ctrl-C.
#[derive(Args, Debug)]
pub(super) struct View {
    /// A folder with traces or histories.
    #[arg(default_value = "traces/new", value_name = "DIR")]
    folder: PathBuf,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value = "0")]
    port: u16,
}

impl View {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        self.serve(subject).unwrap_or_else(|problem| refuse(&problem))
    }

    fn serve(&self, subject: &Subject) -> Result<Exit, String> {
        files(&self.folder)?;
        let server = Server::http((Ipv4Addr::LOCALHOST, self.port))
            .map_err(|error| format!("--port {}: {error}", self.port))?;
        let address = server.server_addr().to_ip().ok_or("no address")?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let registered = signal_hook::flag::register(signal, Arc::clone(&stop));
            registered.map_err(|error| format!("cannot listen for interrupts: {error}"))?;
        }
        say!("view    http://{address}/");
        while !stop.load(Ordering::Relaxed) {
            let asked = server.recv_timeout(TICK).map_err(|error| error.to_string())?;
            if let Some(request) = asked {
                let answer = self.answer(&request, address, subject);
                // Who has gone away needs no answer.
                let _gone = respond(request, answer);
            }
        }
        Ok(Exit::Clean)
    }

    fn answer(&self, request: &Request, address: SocketAddr, subject: &Subject) -> Answer {
        if !is_ours(request, address) {
            return Answer::refused(403, "only by this machine's own address");
        }
        let files = match files(&self.folder) {
            Ok(files) => files,
            Err(problem) => return Answer::refused(404, &problem),
        };
        match Asked::of(request.url()) {
            Some(Asked::All) => Answer::page(index::page(&self.folder.display().to_string(), &names(&files))),
            Some(Asked::One(at)) => match files.get(at) {
                Some(path) => rendered(page_of(path, subject).map(|page| html::page(&page))),
                None => Answer::refused(404, "there is no such run any more"),
            },
            Some(Asked::Two(at, other)) => match (files.get(at), files.get(other)) {
                (Some(path), Some(other)) => {
                    rendered(compared(path, other, subject).map(|page| html::page(&page)))
                }
                _ => Answer::refused(404, "there is no such run any more"),
            },
            None => Answer::refused(404, "there is nothing here"),
        }
    }
}

/// What is asked for; runs by their numbers, so that no name of a file comes from outside.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Asked {
    All,
    One(usize),
    Two(usize, usize),
}

impl Asked {
    fn of(url: &str) -> Option<Asked> {
        if url == "/" {
            return Some(Asked::All);
        }
        let rest = url.strip_prefix("/run/")?;
        match rest.split_once("/beside/") {
            Some((one, other)) => Some(Asked::Two(one.parse().ok()?, other.parse().ok()?)),
            None => Some(Asked::One(rest.parse().ok()?)),
        }
    }
}

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn page(text: String) -> Answer {
        Answer { status: 200, text }
    }

    fn refused(status: u16, why: &str) -> Answer {
        Answer { status, text: index::refusal(why) }
    }
}

fn rendered(page: Result<String, Exit>) -> Answer {
    page.map_or_else(
        |_| Answer::refused(422, "this file cannot be shown; the terminal says why"),
        Answer::page,
    )
}

/// A page of somebody else that has its name resolve to this address is not let in.
fn is_ours(request: &Request, address: SocketAddr) -> bool {
    let host = request.headers().iter().find(|header| header.field.equiv("Host"));
    let names = [address.to_string(), format!("localhost:{}", address.port())];
    host.is_some_and(|host| names.iter().any(|name| *name == host.value.as_str()))
}

fn respond(request: Request, answer: Answer) -> io::Result<()> {
    let mut response = Response::from_string(answer.text).with_status_code(answer.status);
    for (name, value) in [
        ("Content-Type", "text/html; charset=utf-8"),
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ] {
        response.add_header(Header::from_bytes(name, value).expect("they are plain text"));
    }
    request.respond(response)
}

/// The traces and histories of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let is_run =
        |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json" || ending == "jsonl");
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_run).take(FILES_MAX).collect();
    files.sort();
    Ok(files)
}

fn names(files: &[PathBuf]) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(name).map(|name| one_line(&name).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_asked_for_by_number_alone() {
        assert_eq!(Asked::of("/"), Some(Asked::All));
        assert_eq!(Asked::of("/run/12"), Some(Asked::One(12)));
        assert_eq!(Asked::of("/run/12/beside/3"), Some(Asked::Two(12, 3)));
        for url in ["/run/../x", "/run/-1", "/run/", "/etc/passwd", "/run/1/beside/", ""] {
            assert_eq!(Asked::of(url), None, "{url}");
        }
    }
}
