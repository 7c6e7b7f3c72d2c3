//! The target `choices`: see `src/choices.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midstream_fuzz::choices::check(bytes));
