//! The safe layer over a fake TensorRT: who keeps whom, and what becomes of failures. Also run under valgrind, which
//! sees what is used after it was freed, and what is not freed.

#![allow(unsafe_code)]

use std::ops::ControlFlow;
use std::sync::Mutex;

use super::fake::{DEVICE_MEMORY, Fake};
use super::*;

const PLAN: &[u8] = b"plan";

fn memory(bytes: usize) -> DeviceMemory {
    DeviceMemory { address: 0x1000, bytes }
}

fn open_with(engine: &PlanEngine, cache: Option<&RuntimeCache>) -> Result<Context, TensorRtError> {
    // SAFETY: the fake one uses no memory.
    unsafe { engine.context_in(1, Stream::DEFAULT, memory(2 * DEVICE_MEMORY as usize), cache) }
}

/// One of each object, in the order of their making, to be dropped in any.
fn objects(library: TensorRt) -> Vec<Box<dyn std::any::Any + Send>> {
    let runtime = library.runtime().unwrap();
    let engine = runtime.deserialize(PLAN).unwrap();
    let cache = engine.runtime_cache(&[]).unwrap();
    let context = engine.context(0, Stream::DEFAULT).unwrap();
    let cached = open_with(&engine, Some(&cache)).unwrap();
    vec![
        Box::new(library),
        Box::new(runtime),
        Box::new(engine),
        Box::new(cache),
        Box::new(context),
        Box::new(cached),
    ]
}

/// All orders of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    (0..count).fold(vec![vec![]], |orders, next| {
        let with = |order: Vec<usize>| {
            (0..=order.len()).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, next);
                longer
            })
        };
        orders.into_iter().flat_map(with).collect()
    })
}

fn assert_clean(fake: &Fake) {
    let events = fake.events();
    assert!(!events.iter().any(|event| event.starts_with("WRONG")), "{events:#?}");
    assert_eq!(fake.alive(), 0, "{events:#?}");
}

#[test]
fn owners_may_be_dropped_in_any_order() {
    let orders = orders(6);
    assert_eq!(orders.len(), 720);
    for order in orders {
        let (fake, library) = Fake::load();
        let mut objects: Vec<_> = objects(library).into_iter().map(Some).collect();
        assert_eq!(fake.alive(), 5);
        for at in order {
            objects[at] = None;
        }
        assert_clean(fake);
    }
}

#[test]
fn a_context_keeps_all_that_it_depends_on() {
    let (fake, library) = Fake::load();
    let mut context = {
        let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
        open_with(&engine, engine.runtime_cache(&[]).as_ref()).unwrap()
    };
    drop(library);
    assert_eq!(fake.alive(), 4, "runtime, engine, cache and context");
    fake.events();
    context.set_batch_shape("images", &[2, 64, 64, 3]).unwrap();
    // SAFETY: the fake one uses neither memory nor stream.
    unsafe {
        context.set_address("images", 0x2000).unwrap();
        context.enqueue(Stream::DEFAULT).unwrap();
    }
    assert_eq!(context.shape("detections").unwrap(), [2, 100, 6]);
    drop(context);
    let done = ["shape [2, 64, 64, 3]", "address 0x2000", "enqueue 0x0"];
    let freed = ["free context", "free cache", "free engine", "free runtime"];
    assert_eq!(fake.events(), [&done[..], &freed].concat());
    assert_clean(fake);
}

#[test]
fn contexts_may_end_on_other_threads() {
    let (fake, library) = Fake::load();
    let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
    let cache = engine.runtime_cache(b"saved").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let context = engine.context(0, Stream::DEFAULT).unwrap();
            let (engine, cache) = (engine.clone(), cache.clone());
            scope.spawn(move || {
                drop(context);
                open_with(&engine, Some(&cache)).unwrap();
                assert_eq!(cache.save().unwrap(), b"kernels");
            });
        }
    });
    drop((engine, cache, library));
    assert_clean(fake);
}

#[test]
fn a_context_is_for_one_thread_at_a_time_and_the_rest_is_shared() {
    trait Known<A> {
        fn known() {}
    }
    struct IsSync;
    impl<T: ?Sized> Known<()> for T {}
    impl<T: ?Sized + Sync> Known<IsSync> for T {}
    // Ambiguous, and so refused by the compiler, if a context were `Sync`.
    let _ = <Context as Known<_>>::known;
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Context>();
    shared::<TensorRt>();
    shared::<Runtime>();
    shared::<PlanEngine>();
    shared::<RuntimeCache>();
    shared::<TensorRtError>();
}

#[test]
fn a_plan_tells_its_tensors_profiles_and_memory() {
    let (_, library) = Fake::load();
    let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
    let tensors: Vec<_> = engine.tensors().cloned().collect();
    let images = Tensor {
        name: "images".into(),
        is_input: true,
        data_type: DataType::Uint8,
        dims: vec![-1, 64, 64, 3],
    };
    let detections = Tensor {
        name: "detections".into(),
        is_input: false,
        data_type: DataType::Float32,
        dims: vec![-1, 100, 6],
    };
    assert_eq!(tensors, [images, detections]);
    let batches = [BatchRange { min: 1, opt: 1, max: 1 }, BatchRange { min: 1, opt: 4, max: 8 }];
    assert_eq!(engine.batches(), batches);
    let Profile(second) = Profile::of_batches("images", &[64, 64, 3], [1, 4, 8]);
    assert_eq!(engine.profiles()[1], second);
    assert_eq!(engine.device_memory(1), Ok(2 * DEVICE_MEMORY as usize));
    assert_eq!(engine.description().unwrap(), "{\"Layers\": []}");
}

#[test]
fn what_cannot_be_made_is_told_with_tensorrts_last_line_and_leaves_nothing_behind() {
    let (fake, library) = Fake::load();
    let told = |function: &'static str| {
        fake.fail(function);
        let made = library.runtime().and_then(|runtime| runtime.deserialize(PLAN));
        let made = made.and_then(|engine| engine.context(1, Stream::DEFAULT));
        assert_eq!(fake.alive(), usize::from(made.is_ok()) * 3);
        made.map(drop).unwrap_err().to_string()
    };
    for function in ["runtime_new", "engine_new", "context_new", "context_profile"] {
        let error = told(function);
        assert!(error.contains(&format!("{function} was told to fail")), "{error}");
    }
    assert!(told("runtime_new").contains("nvidia-smi"));
    assert!(told("engine_new").contains("build it again"));
    fake.fail("runtime_cache_new");
    let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
    assert!(engine.runtime_cache(&[]).is_none());
    fake.fail("inspector_new");
    assert_eq!(engine.description(), None);
    drop(engine);
    assert_clean(fake);
}

#[test]
fn what_a_context_refuses_is_told_with_what_it_was() {
    let (fake, library) = Fake::load();
    let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
    let mut context = engine.context(0, Stream::DEFAULT).unwrap();
    fake.fail("context_shape");
    let error = context.set_batch_shape("images", &[9, 64, 64, 3]).unwrap_err().to_string();
    let expected = "images cannot be [9, 64, 64, 3] in this profile: context_shape was told to fail";
    assert_eq!(error, expected);
    fake.fail("context_address");
    // SAFETY: the fake one uses no memory.
    let error = unsafe { context.set_address("detections", 1) }.unwrap_err().to_string();
    assert_eq!(error, "the memory for detections was refused: context_address was told to fail");
    fake.fail("context_enqueue");
    // SAFETY: as above.
    let error = unsafe { context.enqueue(Stream::DEFAULT) }.unwrap_err();
    assert_eq!(error, TensorRtError::Enqueue { cause: "context_enqueue was told to fail".into() });
}

#[test]
fn what_is_not_in_the_plan_never_reaches_tensorrt() {
    let (fake, library) = Fake::load();
    let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
    let mut context = engine.context(0, Stream::DEFAULT).unwrap();
    fake.events();
    let error = context.set_batch_shape("image", &[1]).unwrap_err().to_string();
    assert_eq!(error, r#"the plan has no tensor "image", it has images, detections"#);
    assert!(context.set_batch_shape("images", &[1; 9]).is_err());
    assert!(context.shape("").is_err());
    let error = engine.context(2, Stream::DEFAULT).unwrap_err();
    assert_eq!(error, TensorRtError::NoProfile { profile: 2, count: 2 });
    assert!(engine.device_memory(usize::MAX).is_err());
    // SAFETY: it is refused.
    let small = unsafe { engine.context_in(1, Stream::DEFAULT, memory(DEVICE_MEMORY as usize), None) };
    assert!(
        small.unwrap_err().to_string().contains("4096 bytes of GPU memory were given to it, it needs 8192")
    );
    assert_eq!(fake.events(), [""; 0]);
}

#[test]
fn own_memory_is_given_to_the_context_before_it_runs() {
    let (fake, library) = Fake::load();
    let engine = library.runtime().unwrap().deserialize(PLAN).unwrap();
    fake.events();
    let context = open_with(&engine, None).unwrap();
    assert_eq!(fake.events(), ["own memory 1", "new context", "profile 1", "memory 0x1000 8192"]);
    drop(context);
    engine.context(0, Stream::DEFAULT).unwrap();
    assert_eq!(fake.events()[1..], ["own memory 0", "new context", "profile 0", "free context"]);
}

#[test]
fn a_build_hands_over_the_profiles_and_copies_what_comes_out() {
    let (fake, library) = Fake::load();
    let profiles = [[1, 1, 1], [1, 4, 8]].map(|batch| Profile::of_batches("images", &[64, 64, 3], batch));
    let built = library.build(&BuildRequest::new(b"onnx", &profiles)).unwrap();
    assert_eq!(built, Built { plan: b"plan".to_vec(), timing_cache: Some(b"timings".to_vec()) });
    let second = "profile 1 images [[1, 64, 64, 3], [4, 64, 64, 3], [8, 64, 64, 3]]";
    assert!(fake.events().contains(&second.to_owned()));
    assert_clean(fake);
}

#[test]
fn a_failed_build_tells_why_and_frees_what_there_was() {
    let (fake, library) = Fake::load();
    let refused = |function| {
        fake.fail(function);
        library.build(&BuildRequest::new(b"onnx", &[])).unwrap_err().to_string()
    };
    assert_eq!(refused("parse"), "TensorRT-RTX does not take the model: parse was told to fail");
    assert_eq!(refused("build"), "TensorRT-RTX failed to build the plan: build was told to fail");
    assert_clean(fake);
}

#[test]
fn profiles_that_make_no_sense_never_reach_tensorrt() {
    let (fake, library) = Fake::load();
    let range = |tensor: &str, min: Vec<i64>| ShapeRange {
        tensor: tensor.into(),
        min,
        opt: vec![1, 2],
        max: vec![1, 2],
    };
    let odd = [
        (Profile(vec![]), "profile 0 has no shapes"),
        (Profile(vec![range("images", vec![1])]), "the same number of dimensions"),
        (Profile(vec![range("ima\0ges", vec![1, 2])]), "no name of a tensor"),
    ];
    for (profile, expected) in odd {
        let error = library.build(&BuildRequest::new(b"onnx", &[profile])).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(fake.events(), [""; 0]);
}

#[test]
fn progress_is_told_and_may_end_the_build() {
    let (fake, library) = Fake::load();
    let heard = Mutex::new(Vec::new());
    let watched = |until: usize| {
        heard.lock().unwrap().clear();
        let tell = |progress: Progress<'_>| {
            let mut heard = heard.lock().unwrap();
            heard.push(format!("{progress:?}"));
            if heard.len() < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        library.build(&BuildRequest { progress: Some(&tell), ..BuildRequest::new(b"onnx", &[]) })
    };
    watched(5).unwrap();
    // The last word counts, though all was built by then.
    assert_eq!(watched(4), Err(TensorRtError::Cancelled));
    watched(5).unwrap();
    let first = r#"Begin { phase: "Tactics", parent: Some("Build"), steps: 2 }"#;
    assert_eq!(heard.lock().unwrap()[0], first);
    assert_eq!(heard.lock().unwrap().len(), 4);
    for until in [1, 2] {
        assert_eq!(watched(until), Err(TensorRtError::Cancelled));
        assert_eq!(heard.lock().unwrap().len(), until, "nobody is told more after that");
    }
    assert_clean(fake);
}

#[test]
fn a_panic_of_who_watches_ends_the_build_and_nothing_else() {
    let (fake, library) = Fake::load();
    let tell = |_: Progress<'_>| panic!("on purpose");
    let request = BuildRequest { progress: Some(&tell), ..BuildRequest::new(b"onnx", &[]) };
    assert_eq!(library.build(&request), Err(TensorRtError::Cancelled));
    assert_clean(fake);
}

#[test]
fn a_runtime_that_cannot_build_says_so() {
    let (fake, lean) = Fake::load_with(|core| core.builder_factory = None);
    let error = lean.build(&BuildRequest::new(b"onnx", &[])).unwrap_err().to_string();
    assert_eq!(error, "libfake.so.1 runs plans but builds none; install the full TensorRT-RTX");
    assert_eq!(fake.events(), [""; 0]);
}

#[test]
fn the_enterprise_flavour_builds_for_this_machine_alone() {
    let (fake, library) = Fake::load_with(|core| core.flavour = Flavour::Enterprise);
    let request = BuildRequest::new(b"onnx", &[]);
    library.build(&request).unwrap();
    fake.events();
    let hopper = [Capability { major: 9, minor: 0 }];
    let error = library.build(&BuildRequest { capabilities: &hopper, ..request }).unwrap_err().to_string();
    assert!(
        error.contains("compute capability 9.0: TensorRT builds for the GPU of this machine only"),
        "{error}"
    );
    assert_eq!(fake.events(), [""; 0]);
}

#[test]
fn a_plan_that_finds_no_driver_is_not_blamed() {
    let (fake, library) = Fake::load();
    let runtime = library.runtime().unwrap();
    fake.fail("Cuda Runtime (cudaError 35)");
    let error = runtime.deserialize(b"no driver").unwrap_err();
    assert!(matches!(error, TensorRtError::Runtime { .. }), "{error:?}");
}
