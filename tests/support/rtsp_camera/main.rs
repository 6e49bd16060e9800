//! Serves video files as RTSP cameras, in an endless loop at their own frame rate.

use std::error::Error;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use clap::Parser;
use gstreamer as gst;

#[path = "mod.rs"]
mod rtsp_camera;

use rtsp_camera::{Clip, Server};

/// Serve video files as RTSP cameras, in an endless loop at their own frame rate
///
/// Each file is encoded to H.264 once, with a keyframe every second, and kept in the cache folder. When all
/// cameras are up, their URLs are printed, one a line, in the order given. Ends with Ctrl-C.
#[derive(Parser)]
#[command(name = "rtsp-camera", version)]
struct Arguments {
    /// Cameras to serve: yard=walk.avi is rtsp://HOST:PORT/yard
    #[arg(required = true, value_name = "NAME=FILE")]
    cameras: Vec<Camera>,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8554", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// User that viewers must name
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// Password that viewers must give
    #[arg(long, requires = "user")]
    password: Option<String>,
    /// Frames a second, in place of the files' own: the video runs faster or slower
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=240))]
    fps: Option<i32>,
    /// Folder for the encoded files [default: rtsp-camera in the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

#[derive(Clone)]
struct Camera {
    name: String,
    file: PathBuf,
}

impl FromStr for Camera {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                Ok(Self { name: name.into(), file: file.into() })
            }
            _ => Err("write NAME=FILE, such as yard=walk.avi".into()),
        }
    }
}

fn main() -> ExitCode {
    match serve(Arguments::parse()) {
        Ok(never) => never,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    gst::init()?;
    let cache = arguments.cache.unwrap_or_else(|| std::env::temp_dir().join("rtsp-camera"));
    let credentials = arguments.user.as_deref().zip(arguments.password.as_deref());
    let server = Server::start(&arguments.listen.ip().to_string(), arguments.listen.port(), credentials)
        .map_err(|error| format!("cannot listen on {}: {error}", arguments.listen))?;
    let fps = arguments.fps.map(|fps| gst::Fraction::new(fps, 1));
    let mut clips: Vec<(PathBuf, Arc<Clip>)> = Vec::new();
    for (index, Camera { name, file }) in arguments.cameras.iter().enumerate() {
        let known = clips.iter().find(|(path, _)| path == file).map(|(_, clip)| Arc::clone(clip));
        let clip = match known {
            Some(clip) => clip,
            None => Arc::new(encoded(file, &cache)?),
        };
        clips.push((file.clone(), Arc::clone(&clip)));
        // Cameras of one file do not show the same picture at the same time.
        server.mount(name, clip, index * 97, fps)?;
    }
    let mut out = std::io::stdout().lock();
    for camera in &arguments.cameras {
        writeln!(out, "{}", server.url(&camera.name))?;
    }
    out.flush()?;
    loop {
        std::thread::park();
    }
}

fn encoded(file: &Path, cache: &Path) -> Result<Clip, String> {
    let shown = file.display();
    let on_terminal = std::io::stderr().is_terminal();
    let clip = Clip::from_file(file, cache, |frames| {
        if on_terminal && frames % 50 == 0 {
            eprint!("\r{shown}: {frames} frames encoded");
        }
    })
    .map_err(|error| format!("{shown} cannot be served: {error}"))?;
    let end = if on_terminal { "\r" } else { "" };
    eprintln!("{end}{shown}: {} frames, {} a second", clip.units.len(), clip.fps);
    Ok(clip)
}
