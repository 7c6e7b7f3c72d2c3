//! The target `qcow2`: see `src/qcow2.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| midstream_fuzz::qcow2::check(bytes));
