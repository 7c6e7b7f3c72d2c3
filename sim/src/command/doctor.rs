//! `midstream doctor`: which other programs are here, what each is good for, and how to get it.

use super::Exit;
use crate::programs::{self, Program};
use clap::Args;

/// Say which other programs are here, what each enables, and how to install those that are not.
///
/// Nothing is needed to run simulated worlds. Ends with 0 whatever is missing.
#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// One object of JSON instead.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(&self) -> Exit {
        let found: Vec<(&Program, Option<String>)> =
            programs::ALL.iter().map(|program| (program, program.version())).collect();
        if self.json {
            let object: serde_json::Map<String, serde_json::Value> = found
                .into_iter()
                .map(|(program, version)| (program.name.to_owned(), serde_json::json!(version)))
                .collect();
            say!("{}", serde_json::Value::Object(object));
            return Exit::Clean;
        }
        for (program, version) in found {
            match version {
                Some(version) => {
                    say!("here     {:<21} {version}\n         {:<21} {}", program.name, "", program.enables)
                }
                None => say!("missing  {}", program.missing()),
            }
        }
        Exit::Clean
    }
}
