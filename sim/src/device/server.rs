//! Serves devices to NBD clients of a Unix socket, all on one thread, so that requests have one order.

use super::Log;
use super::state::{Counts, Device, State, Taken};
use block::nbd::offer::{Exports, Offer};
use block::nbd::session::{Session, Step};
use midstream::choice::Choices;
use midstream::world::disk::Disks;
use midstream::world::fault::Fault;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A device that holds a request back waits so long for others to come.
const IDLE_NANOS: i64 = 300_000;
/// How much is read from a client at a time.
const READ_BYTES: usize = 64 << 10;
/// Who connects when so many are there is sent away.
const CLIENTS_MAX: usize = 64;

/// How much somebody who is watched has said so far, in bytes.
pub type Watch = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Devices behind a socket; they are served until this is dropped.
pub struct Devices {
    shared: Arc<Shared>,
    /// Wakes the thread, which ends when it is closed.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    watch: Mutex<Option<Watch>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said_bytes(&self) -> u64 {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |watch| watch())
    }
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Devices {
    /// Serves `devices` on a new socket at `path`. With `choices`, requests wait for others as they decide.
    pub fn serve(
        path: &Path,
        devices: Vec<Device>,
        choices: Option<Arc<Mutex<Choices>>>,
    ) -> io::Result<Devices> {
        let listener = UnixListener::bind(path)?;
        // The disk is for whoever made it.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let mut state = State::new(devices);
        state.choices = choices;
        let shared = Arc::new(Shared { state: Mutex::new(state), watch: Mutex::new(None) });
        let mut server =
            Server { shared: Arc::clone(&shared), listener, woken, clients: Vec::new(), clients_so_far: 0 };
        let thread = std::thread::Builder::new().name("devices".to_owned()).spawn(move || server.run())?;
        Ok(Devices { shared, wake: Some(wake), thread: Some(thread) })
    }

    /// From now on every step of the log says how much this one had said before.
    pub fn watch(&self, watch: Watch) {
        *self.shared.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
    }

    /// From now on these go wrong, as often as they say.
    pub fn arm(&self, faults: &[Fault]) {
        let said_bytes = self.shared.said_bytes();
        self.shared.state().arm(faults, said_bytes);
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        let said_bytes = self.shared.said_bytes();
        self.shared.state().calm(said_bytes);
    }

    /// How many steps the log has.
    pub fn steps(&self) -> usize {
        self.shared.state().log.steps.len()
    }

    /// How many steps there were before somebody's byte at this place of what was said.
    pub fn steps_before(&self, said_bytes: u64) -> usize {
        self.shared.state().log.steps_before(said_bytes)
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// Looks at the disks as they are now.
    pub fn look<T>(&self, look: impl FnOnce(&Disks) -> T) -> T {
        look(&self.shared.state().disks)
    }

    /// The bytes of every device, as clients read them.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        self.look(|disks| disks.files.iter().map(|file| file.bytes.clone()).collect())
    }

    /// Every step so far. The log begins anew.
    pub fn take_log(&self) -> Log {
        std::mem::take(&mut self.shared.state().log)
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the server has said on standard error what it was.
            let _ended = thread.join();
        }
    }
}

/// The names and sizes that a client may ask for, and what it chose.
struct Choice<'a> {
    shared: &'a Shared,
    chosen: &'a mut Option<u32>,
}

impl Choice<'_> {
    fn offers(&self) -> Vec<Offer> {
        let state = self.shared.state();
        let offer = |(name, len): (&str, usize)| Offer {
            name: name.to_owned(),
            description: None,
            len_bytes: len as u64,
            writable: true,
            multi_conn: true,
            allocation_depth: false,
            bitmaps: Vec::new(),
        };
        let files = state.disks.files.iter().map(|file| (file.path.as_str(), file.bytes.len()));
        files.map(offer).collect()
    }
}

impl Exports for Choice<'_> {
    fn list(&self) -> Vec<Offer> {
        self.offers()
    }

    fn find(&self, name: &str) -> Option<Offer> {
        self.offers().into_iter().find(|offer| offer.name == name)
    }

    fn enter(&mut self, name: &str) -> Option<Offer> {
        let (index, offer) = self.offers().into_iter().enumerate().find(|(_, offer)| offer.name == name)?;
        *self.chosen = Some(index as u32);
        Some(offer)
    }
}

struct Client {
    number: u64,
    stream: UnixStream,
    session: Session,
    device: Option<u32>,
    /// What could not be sent yet.
    unsent: Vec<u8>,
    /// Nothing more comes from it, and what waits to be sent is the last.
    is_leaving: bool,
}

struct Server {
    shared: Arc<Shared>,
    listener: UnixListener,
    woken: UnixStream,
    clients: Vec<Client>,
    clients_so_far: u64,
}

impl Server {
    fn run(&mut self) {
        loop {
            let is_waiting = self.shared.state().is_waiting();
            let Some(ready) = self.poll(is_waiting) else { return };
            if ready.is_over {
                return;
            }
            if ready.somebody_comes {
                self.accept();
            }
            let mut received = false;
            for index in 0..self.clients.len() {
                if ready.clients.get(index) == Some(&true) {
                    received |= self.clients[index].receive();
                }
                self.clients[index].take_requests(&self.shared);
            }
            self.complete(is_waiting && !received && !ready.somebody_comes);
            self.clients.iter_mut().for_each(Client::send);
            self.clients.retain(|client| !client.is_leaving || !client.unsent.is_empty());
        }
    }

    /// Waits until anything can be done. `None`: it cannot be waited any more.
    fn poll(&self, is_waiting: bool) -> Option<Ready> {
        let idle = Timespec { tv_sec: 0, tv_nsec: IDLE_NANOS };
        let mut fds =
            vec![PollFd::new(&self.woken, PollFlags::IN), PollFd::new(&self.listener, PollFlags::IN)];
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !client.is_leaving && client.session.has_room());
            flags.set(PollFlags::OUT, !client.unsent.is_empty());
            fds.push(PollFd::new(&client.stream, flags));
        }
        loop {
            match poll(&mut fds, is_waiting.then_some(&idle)) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Some(Ready { is_over: ready.next()?, somebody_comes: ready.next()?, clients: ready.collect() })
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if self.clients.len() == CLIENTS_MAX || stream.set_nonblocking(true).is_err() {
            return;
        }
        self.clients_so_far += 1;
        self.clients.push(Client {
            number: self.clients_so_far,
            stream,
            session: Session::new(),
            device: None,
            unsent: Vec::new(),
            is_leaving: false,
        });
    }

    /// Completes every request that is due; all of them, when nothing comes.
    fn complete(&mut self, is_idle: bool) {
        loop {
            let said_bytes = self.shared.said_bytes();
            let Some((number, ticket, answer)) = self.shared.state().complete(is_idle, said_bytes) else {
                return;
            };
            if let Some(client) = self.clients.iter_mut().find(|client| client.number == number) {
                client.session.answer(ticket, answer);
                client.take_requests(&self.shared);
            }
        }
    }
}

/// What `poll` found.
struct Ready {
    is_over: bool,
    somebody_comes: bool,
    clients: Vec<bool>,
}

impl Client {
    /// Takes what the client has sent. False: nothing was there.
    fn receive(&mut self) -> bool {
        let mut piece = [0; READ_BYTES];
        match self.stream.read(&mut piece) {
            Ok(0) => self.leave(),
            Ok(len) => {
                self.session.receive(&piece[..len]);
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.leave(),
        }
        false
    }

    fn leave(&mut self) {
        self.is_leaving = true;
        self.unsent.clear();
    }

    /// Puts every request under way that has come whole.
    fn take_requests(&mut self, shared: &Shared) {
        while !self.is_leaving {
            let mut choice = Choice { shared, chosen: &mut self.device };
            match self.session.next(&mut choice) {
                None => return,
                Some(Step::Close) => self.is_leaving = true,
                Some(Step::Do(ticket, request)) => {
                    let device = self.device.expect("requests come after an export was chosen");
                    let said_bytes = shared.said_bytes();
                    let taken = shared.state().submit(self.number, device, ticket, request, said_bytes);
                    if let Taken::Answer(ticket, answer) = taken {
                        self.session.answer(ticket, answer);
                    }
                }
            }
        }
    }

    fn send(&mut self) {
        while let Some(piece) = self.session.take_output() {
            self.unsent.extend(piece);
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => {
                    self.unsent.drain(..sent);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.leave(),
            }
        }
    }
}
