//! Pictures in requests: any bytes are pixels of the size they say, or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = centerx::picture_file::decode(bytes) {
        assert_eq!(picture.plane(0).len(), picture.width as usize * picture.height as usize * 3);
    }
});
