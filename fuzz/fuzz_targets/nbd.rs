//! The target `nbd`: see `src/nbd.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midstream_fuzz::nbd::check(bytes));
