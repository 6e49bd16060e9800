//! Serves video files as RTSP cameras.

fn main() {}
