//! Operations against a map. The body is the test kit's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::fuzz::run("ops", data));
