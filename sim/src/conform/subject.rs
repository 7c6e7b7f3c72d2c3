//! Whom a case is played on: our engine in this process, or a daemon behind its sockets.

use super::case::{Image, IoOp};
use serde_json::{Map, Value};

/// Why nobody answers any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It has ended, or closed the connection.
    Died,
    /// No answer in time, or nothing can happen any more.
    Hung,
    /// Events without end.
    Flooding,
}

/// Why a request of a client was not answered with a result: the connection is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disconnected(pub String);

/// A request of a client.
#[derive(Copy, Clone, Debug)]
pub struct Request<'a> {
    /// What; never the hash of a whole disk.
    pub op: IoOp,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub len: u32,
    /// The bytes of a write.
    pub data: &'a [u8],
    /// Whether zeroes must keep their space.
    pub nohole: bool,
}

/// What a request came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The NBD error number, or 0.
    pub error: u32,
    /// The bytes of a read.
    pub data: Vec<u8>,
}

/// A client's connection to an export.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Connection {
    /// Which.
    pub id: usize,
    /// The size of the disk, in bytes.
    pub len_bytes: u64,
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct End {
    /// The exit status; negative for a signal.
    pub exit: i32,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// It had to be killed.
    pub hung: bool,
}

/// Whom a case is played on.
pub trait Subject {
    /// The folder that `$DIR` stands for.
    fn folder(&self) -> &str;
    /// Makes the images; what went wrong, by image.
    fn make_images(&mut self, images: &[Image]) -> Vec<Value>;
    /// Starts with these arguments added; the monitor is ready for commands then.
    fn start(&mut self, arguments: &[String]) -> Result<(), Lost>;
    /// Sends one text and gives the next reply.
    fn execute(&mut self, text: &str) -> Result<Value, Lost>;
    /// Lets so many seconds pass.
    fn pass(&mut self, seconds: f64) -> Result<(), Lost>;
    /// The events that came since the last time.
    fn take_events(&mut self) -> Vec<Value>;
    /// Connects a client to an export.
    fn connect(&mut self, export: &str) -> Result<Connection, Disconnected>;
    /// Does one request of a client.
    fn request(&mut self, connection: usize, request: Request<'_>) -> Result<Answer, Disconnected>;
    /// Says goodbye for a client.
    fn disconnect(&mut self, connection: usize);
    /// Does what a program beside it does, or runs it. `None`: that is not possible here, or not wanted.
    fn host(&mut self, program: &[String]) -> Option<Value>;
    /// Ends it, politely unless it is lost; events may still come.
    fn stop(&mut self, lost: Option<Lost>) -> End;
    /// What the images hold, now that nobody has them open.
    fn offline(&mut self, images: &[Image]) -> Map<String, Value>;
}
