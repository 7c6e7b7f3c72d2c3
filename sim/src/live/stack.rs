//! Where a daemon was when it fell or hung: the functions on its stacks, asked of gdb where gdb is there.
//!
//! A daemon leaves a core file in its own folder where the system writes such files to the working folder. Without
//! gdb, without symbols or without a core file nothing is known, and the failure is reported without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// gdb is given so long, in seconds, by `timeout`.
const SECONDS_MAX: &str = "30";
/// So many functions of a stack are shown.
const FRAMES_MAX: usize = 14;
/// So many stacks are shown.
const STACKS_MAX: usize = 6;
/// What threads are in that only wait for work, beside the C library's own functions: they show nothing.
const WAITING: [&str; 11] = [
    "aio_poll",
    "clone3",
    "epoll_wait",
    "g_main_loop_run",
    "main_loop_wait",
    "ppoll",
    "pthread_cond_timedwait",
    "qemu_cond_timedwait_impl",
    "qemu_event_wait",
    "start_thread",
    "syscall",
];

/// The stack of the thread that ended the process, innermost first; nothing, if nothing is known.
pub fn of_core(binary: &Path, folder: &Path) -> Vec<Vec<String>> {
    let Some(core) = core_file(folder) else { return Vec::new() };
    let files = [binary.display().to_string(), core.display().to_string()];
    let mapped = gdb(&["info proc mappings".to_owned()], &files).unwrap_or_default();
    // The libraries are asked for too: a stack may begin in one.
    let mut asked = symbols(&mapped, |_| true);
    asked.push("bt 40".to_owned());
    stacks(&gdb(&asked, &files).unwrap_or_default()).into_iter().take(1).collect()
}

/// The stacks of a living process.
pub fn of_process(id: u32) -> Vec<Vec<String>> {
    let mapped = fs::read_to_string(format!("/proc/{id}/maps")).unwrap_or_default();
    let mut asked = symbols(&mapped, |path| path.ends_with("/qemu-storage-daemon"));
    asked.push("thread apply all bt 40".to_owned());
    stacks(&gdb(&asked, &["-p".to_owned(), id.to_string()]).unwrap_or_default())
}

/// What gives gdb the functions of a daemon that was started by naming its loader: then gdb takes the loader for the
/// program. The list of what is mapped where comes from the kernel or from gdb itself.
fn symbols(mapped: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut paths: Vec<&str> = Vec::new();
    let mut asked = Vec::new();
    for line in mapped.lines() {
        let path = line.split_whitespace().last().filter(|path| path.starts_with('/') && is_wanted(path));
        let start = line.trim_start().trim_start_matches("0x");
        let start = start.split(|c: char| !c.is_ascii_hexdigit()).next().filter(|start| !start.is_empty());
        if let (Some(path), Some(start)) = (path.filter(|path| !paths.contains(path)), start) {
            paths.push(path);
            asked.push(format!("add-symbol-file {path} -o 0x{start}"));
        }
    }
    asked
}

fn core_file(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    files.map(|file| file.path()).find(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("core"))
    })
}

/// What gdb prints for these commands, of these files or this process.
fn gdb(asked: &[String], of: &[String]) -> Option<String> {
    let mut command = Command::new("timeout");
    command.args([SECONDS_MAX, "gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off"]);
    asked.iter().for_each(|asked| drop(command.args(["-ex", asked])));
    let printed = command.args(of).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&printed.stdout).into_owned())
}

/// The stacks in what gdb printed: the functions that have names.
fn stacks(printed: &str) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = Vec::new();
    for line in printed.lines() {
        let Some(frame) = line.trim_start().strip_prefix('#') else { continue };
        if frame.starts_with("0 ") {
            all.push(Vec::new());
        }
        if let (Some(name), Some(stack)) = (function(frame), all.last_mut()) {
            stack.push(name.to_owned());
        }
    }
    let is_waiting = |name: &String| name.starts_with('_') || WAITING.contains(&name.as_str());
    all.retain(|stack| stack.len() > 1 && !stack.iter().all(is_waiting));
    all.truncate(STACKS_MAX);
    all.iter_mut().for_each(|stack| stack.truncate(FRAMES_MAX));
    all
}

/// The function of a frame such as `3  0x00007f in blk_drain () from lib`; none if it has no name.
fn function(frame: &str) -> Option<&str> {
    let rest = frame.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let rest = rest.split_once(" in ").map_or(rest, |(_, rest)| rest);
    let name = rest.split(' ').next()?;
    (!name.starts_with('?') && !name.starts_with("0x")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_its_functions_from_the_inside_out() {
        let printed = "Core was generated by `x'.\n#0  0x00005 in ?? ()\n#1  0x00007f3 in bdrv_co_preadv ()\n\
            #2  blk_drain (blk=0x0) from /lib/x.so\n#3  0x1 in main ()\n";
        assert_eq!(stacks(printed), [["bdrv_co_preadv", "blk_drain", "main"]]);
    }

    #[test]
    fn symbols_are_read_from_where_the_program_is_mapped() {
        let of_kernel = "7f27709d4000-7f27709d5000 r--p 00000000 fe:00 5 /lib/ld-linux-x86-64.so.2\n\
            7f99b6400000-7f99b6410000 r--p 00000000 fe:00 6 /usr/bin/qemu-storage-daemon\n\
            7f99b6410000-7f99b6420000 r-xp 00010000 fe:00 6 /usr/bin/qemu-storage-daemon\n";
        let of_gdb = "  Start Addr   End Addr   Size   Offset   File\n  0x7f99b6400000   0x7f99b6410000   0x10000   \
            0x0   /usr/bin/qemu-storage-daemon\n";
        for mapped in [of_kernel, of_gdb] {
            let asked = symbols(mapped, |path| path.ends_with("/qemu-storage-daemon"));
            assert_eq!(asked, ["add-symbol-file /usr/bin/qemu-storage-daemon -o 0x7f99b6400000"]);
        }
        assert_eq!(symbols(of_kernel, |_| true).len(), 2);
    }

    #[test]
    fn each_thread_has_its_own() {
        let printed = "Thread 3\n#0  0x1 in __ppoll ()\n#1  0x2 in aio_poll ()\n#2  0x3 in start_thread ()\nThread 2\n#0  0x1 in poll ()\n#1  0x2 in run ()\n\
            Thread 1\n#0  0x1 in a ()\n#1  0x2 in b ()\n";
        assert_eq!(stacks(printed), [["poll", "run"], ["a", "b"]]);
        assert!(stacks("#0  0x1 in ?? ()\n#1  0x2 in ?? ()\n").is_empty());
    }
}
