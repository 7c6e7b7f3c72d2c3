//! Simulated sockets: bytes in order, both ways, that arrive at once. The world holds one end, the engine the other.

use super::host::Core;
use super::wire::Wire;
use seam::address::{Address, NotConnected};
use seam::{Errno, IoResult, Listener, Pending, Stream};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

/// The other side has gone.
const EPIPE: Errno = Errno(32);

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
}

type Shared<T> = Arc<Mutex<T>>;

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn wake(reader: Option<Waker>) {
    reader.into_iter().for_each(Waker::wake);
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct End {
    input: Shared<Pipe>,
    output: Shared<Pipe>,
    /// What it runs over, if that can be cut.
    wire: Option<Arc<Wire>>,
}

impl End {
    /// Both ends of a new connection.
    pub fn pair() -> (End, End) {
        End::pair_over(None)
    }

    fn pair_over(wire: Option<Arc<Wire>>) -> (End, End) {
        let (there, back): (Shared<Pipe>, Shared<Pipe>) = Default::default();
        let ours = End { input: there.clone(), output: back.clone(), wire: wire.clone() };
        (ours, End { input: back, output: there, wire })
    }

    /// Sends bytes; fails if the connection has ended.
    pub fn send(&self, data: &[u8]) -> IoResult<()> {
        if self.wire.as_ref().is_some_and(|wire| !wire.passes()) {
            self.shut_down();
            return Err(EPIPE);
        }
        let reader = {
            let mut pipe = lock(&self.output);
            if pipe.ended {
                return Err(EPIPE);
            }
            pipe.bytes.extend(data);
            pipe.reader.take()
        };
        wake(reader);
        Ok(())
    }

    /// Takes so many bytes, once they are there.
    pub fn take(&self, len: usize) -> Option<Vec<u8>> {
        let mut pipe = lock(&self.input);
        (pipe.bytes.len() >= len).then(|| pipe.bytes.drain(..len).collect())
    }

    /// Whether nothing more will come than what waits to be taken.
    pub fn has_ended(&self) -> bool {
        lock(&self.input).ended
    }
}

impl Stream for End {
    fn read(&self, max_bytes: usize) -> Pending<'static, IoResult<Vec<u8>>> {
        let input = self.input.clone();
        Box::pin(poll_fn(move |context| {
            let mut pipe = lock(&input);
            if pipe.bytes.is_empty() && !pipe.ended {
                pipe.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            let len = pipe.bytes.len().min(max_bytes);
            Poll::Ready(Ok(pipe.bytes.drain(..len).collect()))
        }))
    }

    fn write(&self, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        Box::pin(std::future::ready(self.send(&data)))
    }

    fn shut_down(&self) {
        for pipe in [&self.input, &self.output] {
            let reader = {
                let mut pipe = lock(pipe);
                pipe.ended = true;
                pipe.reader.take()
            };
            wake(reader);
        }
    }
}

/// A new connection, and the waker of the listener.
pub(super) type Reached = (End, Option<Waker>);

/// The door that an address leads to, over the wire of this world.
pub(super) fn reach(core: &Core, address: &Address) -> Result<Reached, NotConnected> {
    core.doors.reach(address, &core.wire)
}

/// Goes through a door that was reached: without any lock held, the listener is woken.
pub(super) fn enter((end, listener): Reached) -> Arc<dyn Stream> {
    wake(listener);
    Arc::new(end)
}

/// Connections that wait to be taken.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<End>,
    taker: Option<Waker>,
}

/// A place that connections come to.
#[derive(Debug)]
struct Door(Shared<Queue>);

impl Listener for Door {
    fn accept(&self) -> Pending<'static, IoResult<Arc<dyn Stream>>> {
        let queue = self.0.clone();
        Box::pin(poll_fn(move |context| {
            let mut queue = lock(&queue);
            let Some(end) = queue.waiting.pop_front() else {
                queue.taker = Some(context.waker().clone());
                return Poll::Pending;
            };
            let stream: Arc<dyn Stream> = Arc::new(end);
            Poll::Ready(Ok(stream))
        }))
    }
}

/// The doors of a world, by their paths.
#[derive(Debug, Default)]
pub struct Doors(Vec<(String, Shared<Queue>)>);

impl Doors {
    /// Somebody listens here.
    pub fn open(&mut self, path: &str) -> IoResult<Arc<dyn Listener>> {
        if self.find(path).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        let queue: Shared<Queue> = Arc::default();
        self.0.push((path.to_owned(), queue.clone()));
        Ok(Arc::new(Door(queue)))
    }

    /// Connects to whoever listens there. The waker is that of the listener, to be woken without any lock held.
    pub fn connect(&self, path: &str) -> Option<(End, Option<Waker>)> {
        self.connect_over(path, None)
    }

    /// The same for the engine, over a wire that can be cut. There is no network but that.
    fn reach(&self, address: &Address, wire: &Arc<Wire>) -> Result<Reached, NotConnected> {
        let Address::Unix { path } = address else { return Err(NotConnected::Failed(Errno::ENOTSUP)) };
        let over = if wire.is_down() { None } else { Some(wire.clone()) };
        let reached = over.and_then(|wire| self.connect_over(path, Some(wire)));
        reached.ok_or(NotConnected::Failed(Errno::ECONNREFUSED))
    }

    fn connect_over(&self, path: &str, wire: Option<Arc<Wire>>) -> Option<(End, Option<Waker>)> {
        let queue = self.find(path)?;
        let (ours, theirs) = End::pair_over(wire);
        let mut queue = lock(queue);
        queue.waiting.push_back(theirs);
        Some((ours, queue.taker.take()))
    }

    /// A door stands open while its listener lives.
    fn find(&self, path: &str) -> Option<&Shared<Queue>> {
        let open = |(at, queue): &&(String, Shared<Queue>)| at == path && Arc::strong_count(queue) > 1;
        self.0.iter().find(open).map(|(_, queue)| queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Context;

    #[test]
    fn a_door_is_open_while_somebody_listens() {
        let mut doors = Doors::default();
        assert!(doors.connect("/s").is_none());
        let listener = doors.open("/s").unwrap();
        assert_eq!(doors.open("/s").unwrap_err(), Errno::EADDRINUSE);
        let (ours, _) = doors.connect("/s").unwrap();
        let mut accepted = listener.accept();
        let polled = accepted.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(theirs)) = polled else { panic!("a connection waits") };
        ours.send(b"hello").unwrap();
        let mut read = theirs.read(3);
        let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Ok(b"hel".to_vec())));
        theirs.shut_down();
        assert!(ours.has_ended());
        assert!(ours.send(b"more").is_err());
        drop((listener, accepted));
        assert!(doors.connect("/s").is_none());
    }
}
