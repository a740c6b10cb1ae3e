//! A run is tampered with, its checksums made right. The body is the test kit's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::fuzz::run("run_file", data));
