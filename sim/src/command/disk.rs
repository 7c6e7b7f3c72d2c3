//! `midstream disk`: the simulated disk for any NBD client.

use super::limits::check_folder;
use super::seeds::Seed;
use super::{Exit, refuse};
use crate::device::{Device, Devices};
use clap::Args;
use midstream::choice::{Choices, Draw};
use midstream::strategy::of_seed;
use midstream::terminal::shown;
use midstream::world::crash::{Ending, crash_images};
use midstream::world::disk::FILE_BYTES_MAX;
use midstream::world::repertoire::{self, OF_DEVICE};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A sector, the unit of a device's length.
const SECTOR_BYTES: u64 = midstream::world::disk::SECTOR_BYTES;

/// Serve block devices of a fixed size by NBD, on a Unix socket, as a disk that may be slow, fail, and lose what was not
/// flushed.
///
/// Serves until an interrupt or a line `quit` on the standard input; then it says what happened. Nothing is written
/// to the files that devices are made from.
#[derive(Args, Debug)]
pub(super) struct Disk {
    /// A device: NAME=SIZE is empty, NAME=FILE holds the file, NAME=FILE,SIZE has room behind it. SIZE in bytes, or with K
    /// or M; at most 64M.
    #[arg(required = true, value_name = "NAME=FILE[,SIZE]")]
    devices: Vec<Wanted>,
    /// Where to listen; nothing may be there yet.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Decides about order, faults and what a power cut leaves: a number, or `random`.
    #[arg(long, value_name = "S", default_value = "1", value_parser = Seed::number)]
    seed: u64,
    /// Let requests overtake each other.
    #[arg(long)]
    reorder: bool,
    /// At most so many kinds of requests fail, once or for ever: reads, writes (whole, torn or not at all there), flushes.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=64))]
    faults: u32,
    /// At the end, write every device into this folder as a power cut would leave it: what was flushed, and any part of
    /// the rest.
    #[arg(long, value_name = "DIR")]
    power_cut: Option<PathBuf>,
    /// At the end, write every device into this folder as it was read last.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// End with one line of JSON on stdout.
    #[arg(long)]
    json: bool,
}

/// A device as the command line asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted {
    name: String,
    file: Option<PathBuf>,
    len_bytes: Option<u64>,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        let (name, what) = text.split_once('=').ok_or("a device is NAME=SIZE or NAME=FILE")?;
        if name.is_empty() || name.len() > 255 || name.contains('/') || name.starts_with('.') {
            return Err(format!("`{name}` is no name of a device: no slash, no dot in front"));
        }
        let name = name.to_owned();
        if what.starts_with(|c: char| c.is_ascii_digit()) && !Path::new(what).exists() {
            return Ok(Wanted { name, file: None, len_bytes: Some(size(what)?) });
        }
        let (file, len_bytes) = match what.rsplit_once(',') {
            Some((file, len)) => (file, Some(size(len)?)),
            None => (what, None),
        };
        if file.is_empty() {
            return Err("a device is NAME=SIZE or NAME=FILE".to_owned());
        }
        Ok(Wanted { name, file: Some(file.into()), len_bytes })
    }
}

/// A number of bytes, of whole sectors.
fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let bytes = bytes.ok_or_else(|| format!("`{text}` is no size"))?;
    check(bytes)?;
    Ok(bytes)
}

fn check(bytes: u64) -> Result<(), String> {
    if bytes == 0 || bytes > FILE_BYTES_MAX {
        return Err(format!("{bytes} bytes: a device has at least one and at most {FILE_BYTES_MAX}"));
    }
    if !bytes.is_multiple_of(SECTOR_BYTES) {
        return Err(format!("{bytes} bytes: a device has whole sectors of {SECTOR_BYTES}"));
    }
    Ok(())
}

impl Wanted {
    fn device(&self) -> Result<Device, String> {
        let mut bytes = Vec::new();
        if let Some(file) = &self.file {
            let wrong = |error: io::Error| format!("{}: {error}", file.display());
            let len = fs::metadata(file).map_err(wrong)?.len();
            if len > FILE_BYTES_MAX {
                return Err(format!("{}: longer than {FILE_BYTES_MAX} bytes", file.display()));
            }
            bytes = fs::read(file).map_err(wrong)?;
        }
        let len_bytes = self.len_bytes.unwrap_or((bytes.len() as u64).next_multiple_of(SECTOR_BYTES));
        check(len_bytes).map_err(|problem| format!("{}: {problem}", self.name))?;
        if len_bytes < bytes.len() as u64 {
            return Err(format!("{}: its file of {} bytes does not fit", self.name, bytes.len()));
        }
        bytes.resize(len_bytes as usize, 0);
        Ok(Device { name: self.name.clone(), bytes })
    }
}

impl Disk {
    pub(super) fn run(&self) -> Exit {
        match self.serve() {
            Ok(()) => Exit::Clean,
            Err(problem) => refuse(&problem),
        }
    }

    fn serve(&self) -> Result<(), String> {
        for (option, folder) in [("--keep", &self.keep), ("--power-cut", &self.power_cut)] {
            folder.as_ref().map_or(Ok(()), |folder| check_folder(option, folder))?;
        }
        let devices: Vec<Device> = self.devices.iter().map(Wanted::device).collect::<Result<_, _>>()?;
        for (index, device) in devices.iter().enumerate() {
            if devices[..index].iter().any(|other| other.name == device.name) {
                return Err(format!("two devices are called `{}`", device.name));
            }
        }
        let mut choices = of_seed(self.seed);
        let faults =
            repertoire::draw(&mut Draw::new(&mut choices), devices.len() as u32, self.faults, &OF_DEVICE);
        let choices = Arc::new(Mutex::new(choices));
        let orders = self.reorder.then(|| Arc::clone(&choices));
        let mut over = until_over().map_err(|error| error.to_string())?;
        let names: Vec<String> = devices.iter().map(|device| device.name.clone()).collect();
        let served = Devices::serve(&self.socket, devices, orders)
            .map_err(|error| format!("{}: {error}", self.socket.display()))?;
        served.arm(&faults);
        for name in &names {
            complain!("nbd+unix:///{name}?socket={}", shown(&self.socket));
        }
        over.read_exact(&mut [0]).map_err(|error| error.to_string())?;
        let ended = self.conclude(&served, &names, &choices);
        // Who listens elsewhere now is not ours to remove; a socket that stays harms nobody.
        let _gone = fs::remove_file(&self.socket);
        ended
    }

    fn conclude(&self, served: &Devices, names: &[String], choices: &Mutex<Choices>) -> Result<(), String> {
        if let Some(folder) = &self.keep {
            write_all(folder, names, &served.contents())?;
        }
        if let Some(folder) = &self.power_cut {
            let mut choices = choices.lock().unwrap_or_else(PoisonError::into_inner);
            let left = served.look(|disks| crash_images(disks, Ending::PowerCut, &mut choices));
            write_all(folder, names, &left)?;
        }
        let said = self.report(served);
        if self.json {
            say!("{said}");
        } else {
            let word = |name: &str| said[name].to_string();
            say!(
                "{} reads, {} writes, {} writes of zeroes, {} trims, {} flushes; {} overtaken, {} failed; {} changes not \
                 flushed; seed {}",
                word("reads"),
                word("writes"),
                word("zeroes"),
                word("trims"),
                word("flushes"),
                word("overtaken"),
                word("failed"),
                word("not_flushed"),
                self.seed
            );
        }
        Ok(())
    }

    fn report(&self, served: &Devices) -> Value {
        let counts = served.counts();
        let (failed, not_flushed) = served.look(|disks| {
            let unflushed: usize = disks.files.iter().map(|file| file.unflushed.len()).sum();
            (disks.faults.struck(), unflushed)
        });
        json!({
            "seed": self.seed, "reads": counts.reads, "writes": counts.writes, "zeroes": counts.zeroes,
            "trims": counts.trims, "flushes": counts.flushes, "overtaken": counts.overtaken,
            "failed": failed, "not_flushed": not_flushed,
        })
    }
}

fn write_all(folder: &Path, names: &[String], all: &[Vec<u8>]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, bytes) in names.iter().zip(all) {
        let path = folder.join(name);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Somewhere from which a byte can be read when a signal has come, or a line `quit`. An end of the standard input says
/// nothing.
fn until_over() -> io::Result<UnixStream> {
    let (over, notify) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, notify.try_clone()?)?;
    }
    thread::spawn(move || {
        let mut lines = io::stdin().lock().lines().map_while(Result::ok);
        if lines.any(|line| line.trim() == "quit") {
            // Nobody listens any more: the end has begun.
            let _late = (&notify).write_all(b"q");
        }
        // The signals keep their own ends of it.
    });
    Ok(over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_size_or_a_file_or_both() {
        let wanted = |text: &str| text.parse::<Wanted>();
        let empty = wanted("a=4K").expect("a size");
        assert_eq!((empty.file, empty.len_bytes), (None, Some(4096)));
        let file = wanted("b=x.img").expect("a file");
        assert_eq!((file.file, file.len_bytes), (Some("x.img".into()), None));
        let both = wanted("c=x.img,1M").expect("a file and a size");
        assert_eq!((both.file, both.len_bytes), (Some("x.img".into()), Some(1 << 20)));
        for wrong in ["a", "=4K", "a=", "a=0", "a=100", "a=65M", "../a=4K", "a=4T", "a=99999999999999999999"]
        {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }
}
