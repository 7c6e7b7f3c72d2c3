//! The target `qmp`: see `src/qmp.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midstream_fuzz::qmp::check(bytes));
