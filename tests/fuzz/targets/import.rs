//! Foreign networks: any bytes become a detector or an error. The probe says what a runtime would of heads at a
//! quarter of the input's sides, so that what follows is reached as well.
#![no_main]

use std::path::Path;

use centerx::model::import::{Options, Probed, Size, import};
use centerx::model::onnx::ModelProto;
use prost::Message as _;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses what the user asks for.
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let options = Options {
        size: (choice & 1 != 0).then_some(Size { width: 64, height: 32 }),
        float16: choice & 2 != 0,
        nms: (choice & 4 != 0).then_some(0.5),
        top_k: Some(5),
        ..Options::default()
    };
    let probe = |model: &[u8], batch: usize, size: Size| {
        let model = ModelProto::decode(model).map_err(|error| error.to_string())?;
        let names = model.graph.unwrap_or_default().output.into_iter().filter_map(|value| value.name);
        let shape =
            |channels: usize| [batch, channels, size.height / 4, size.width / 4].map(|d| d as i64).to_vec();
        let channels = [3, 2, 2, 34, 17, 2];
        let probed =
            |(name, channels)| Probed { name, element: 1, shape: shape(channels), least: 0.0, greatest: 1.0 };
        Ok(names.zip(channels).map(probed).collect())
    };
    if let Ok(made) = import(bytes, Path::new("fuzzed.onnx"), &options, &probe) {
        centerx::model::parse(made.bytes, Path::new("made.onnx")).expect("what is made keeps the contract");
    }
});
