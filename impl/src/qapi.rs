//! QAPI: what may be said, as a table, and how what was said becomes options of the engine.
//!
//! `json` cuts a stream of bytes into messages (`plain` reads those that are whole and written as programs write them),
//! `schema` is the one table, `check` holds a message against it, `options` and `node_options` make plain data of what
//! passed; `keyval` and `file_name` take the same options as dotted keys and as names of backing files.

pub mod check;
pub(crate) mod create_options;
pub(crate) mod file_name;
pub mod json;
pub mod keyval;
mod lexer;
pub(crate) mod node_options;
pub mod options;
mod plain;
pub(crate) mod refusal;
pub mod schema;
pub mod types;
