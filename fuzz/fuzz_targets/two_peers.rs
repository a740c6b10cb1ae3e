//! Two replicas become equal. The body is the test kit's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::fuzz::run("two_peers", data));
