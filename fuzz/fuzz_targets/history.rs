//! The target `history`: see `src/history.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midstream_fuzz::history::check(bytes));
