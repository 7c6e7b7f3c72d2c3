//! What each engine promises, in its own words.

use crate::engine::Engine;

/// The promises of an engine, as the page tells them.
pub fn of(engine: Engine) -> &'static str {
    match engine {
        Engine::Imago => IMAGO,
        Engine::Qcow2Rs => QCOW2_RS,
        Engine::Ours => "",
    }
}

const IMAGO: &str = "";

const QCOW2_RS: &str = "";
