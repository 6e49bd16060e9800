//! centerx: many cameras in, one fused CenterNet, detections out.
//!
//! The way of a frame:
//!
//! ```text
//! camera -> ingest -> slot (newest wins) -> scheduler -> engine thread -> hub -> subscribers
//! ```
//!
//! Stages know the leaf modules (`access`, `annotate`, `auth`, `camera`, `data_dir`, `detection`, `frame`, `history`,
//! `json_file`, `ledger`, `letterbox`, `secret`, `telemetry`, `trace`, `view`) and not each other; only `app` knows them all.
//! A frame carries a
//! [`ledger::Ticket`], so that at every moment and for every camera
//! `received = published + dropped by reason + in flight`.

pub mod access;
pub mod annotate;
pub mod api;
pub mod app;
pub mod auth;
pub mod camera;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod detection;
pub mod engine;
pub mod eval;
pub mod frame;
pub mod history;
pub mod http;
pub mod ingest;
pub mod json_file;
pub mod ledger;
pub mod letterbox;
pub mod listen;
pub mod live;
pub mod model;
pub mod otlp;
pub mod picture_file;
pub mod publisher;
pub mod restream;
pub mod scheduler;
pub mod secret;
pub mod telemetry;
pub mod trace;
pub mod view;
