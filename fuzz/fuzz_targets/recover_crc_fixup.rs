//! The same with checksums made right. The body is the test kit's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| testkit::fuzz::run("recover_crc_fixup", data));
