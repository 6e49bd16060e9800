// TensorRT behind a C ABI, for sys.rs.
//
// Compiled once for each flavour of TensorRT: build/shim.rs gives each its headers, another name for NVIDIA's
// namespaces and the prefix of what is exported. Nothing is linked: the entry points of TensorRT's libraries come in
// as pointers, and everything else is reached through the objects they return.
//
// Rules: who gets a pointer from a `_new` gives it to the `_free` of the same name, once; a null pointer says that it
// failed and that the logger has heard why. Booleans are 0 and 1.

#include "shim.hpp"

#include <cstdio>
#include <memory>
#include <new>

#define JOIN_AGAIN(prefix, name) prefix##_##name
#define JOIN(prefix, name) JOIN_AGAIN(prefix, name)
// The name that a function is exported by, such as centerx_trt_rtx_build.
#define EXPORT(name) JOIN(CENTERX_TRT, name)

extern "C" {

// Bytes that are TensorRT's: owner goes to memory_free.
struct Memory {
    void const* data;
    size_t size;
    void* owner;
};

// The shapes that an input may have in a profile. The ranges of a profile stand in a row.
struct Range {
    char const* tensor;
    int64_t min[8];
    int64_t opt[8];
    int64_t max[8];
    int32_t rank;
    int32_t profile;
};

struct Request {
    void const* onnx;
    size_t onnx_size;
    Range const* ranges;
    size_t range_count;
    // Such as 89; none for the GPU of this machine. TensorRT-RTX only.
    int32_t const* capabilities;
    size_t capability_count;
    // In bytes; 0 for as much as there is.
    size_t workspace;
    // 0 to 5; -1 for the usual one.
    int32_t optimization_level;
    // What an earlier build returned, or null for none. Ignored by TensorRT-RTX, which has no such cache.
    void const* timing_cache;
    size_t timing_cache_size;
    // Null if nobody wants to know. Event 0: phase begins, of number steps; 1: step number is done, 0 as the answer ends
    // the build; 2: phase ends.
    ProgressFn progress;
    void* progress_user;
};

static_assert(sizeof(Memory) == 24 && sizeof(Range) == 208 && sizeof(Request) == 96, "sys.rs has the same");
}

namespace {

// What a build failed at. sys.rs has the same list.
enum Status : int32_t { kDone, kBuilder, kParser, kParse, kNoOutputs, kCapability, kProfile, kBuild };

Memory memory(trt::IHostMemory* host) {
    return host == nullptr ? Memory{} : Memory{host->data(), host->size(), host};
}

// Tells the logger what the parser did not like; the first error comes last, as the last one is kept.
void report(nvonnxparser::IParser const& parser, Logger& logger) {
    for (int32_t at = parser.getNbErrors() - 1; at >= 0; --at) {
        auto const* error = parser.getError(at);
        if (error->node() < 0) {
            logger.log(trt::ILogger::Severity::kERROR, error->desc());
            continue;
        }
        char text[1024];
        char const* name = error->nodeName();
        char const* type = error->nodeOperator();
        bool const named = name != nullptr && *name != '\0';
        std::snprintf(text, sizeof text, "node %d%s%s (%s): %s", error->node(), named ? " " : "", named ? name : "",
            type == nullptr ? "" : type, error->desc());
        logger.log(trt::ILogger::Severity::kERROR, text);
    }
}

Status parse(trt::INetworkDefinition& network, void* factory, Logger& logger, Request const& request,
    std::unique_ptr<nvonnxparser::IParser>& parser) {
    auto* create = reinterpret_cast<ParserFactory>(factory);
    parser.reset(checked<nvonnxparser::IParser>(create(&network, &logger, NV_ONNX_PARSER_VERSION)));
    if (!parser) {
        return kParser;
    }
    if (!parser->parse(request.onnx, request.onnx_size)) {
        report(*parser, logger);
        return kParse;
    }
    // Bytes that are no ONNX may parse, as a network that computes nothing.
    return network.getNbOutputs() == 0 ? kNoOutputs : kDone;
}

bool set_capabilities(trt::IBuilderConfig& config, Request const& request) {
#if CENTERX_TRT_IS_RTX
    auto const count = static_cast<int32_t>(request.capability_count);
    if (count > 0 && !config.setNbComputeCapabilities(count)) {
        return false;
    }
    for (int32_t at = 0; at < count; ++at) {
        if (!config.setComputeCapability(static_cast<trt::ComputeCapability>(request.capabilities[at]), at)) {
            return false;
        }
    }
    return true;
#else
    static_cast<void>(config);
    return request.capability_count == 0;
#endif
}

// Adds the profile whose ranges begin at first and returns the range after them, null if they are refused.
Range const* add_profile(
    trt::IBuilder& builder, trt::IBuilderConfig& config, Range const* first, Range const* end) {
    using Which = trt::OptProfileSelector;
    auto* profile = builder.createOptimizationProfile(); // The builder keeps it.
    if (profile == nullptr) {
        return nullptr;
    }
    auto const* range = first;
    for (; range != end && range->profile == first->profile; ++range) {
        if (!profile->setDimensions(range->tensor, Which::kMIN, dims(range->min, range->rank)) ||
            !profile->setDimensions(range->tensor, Which::kOPT, dims(range->opt, range->rank)) ||
            !profile->setDimensions(range->tensor, Which::kMAX, dims(range->max, range->rank))) {
            return nullptr;
        }
    }
    return profile->isValid() && config.addOptimizationProfile(profile) >= 0 ? range : nullptr;
}

bool add_profiles(trt::IBuilder& builder, trt::IBuilderConfig& config, Request const& request) {
    auto const* end = request.ranges + request.range_count;
    auto const* range = request.ranges;
    while (range != nullptr && range != end) {
        range = add_profile(builder, config, range, end);
    }
    return range == end;
}

void configure(trt::IBuilderConfig& config, Request const& request) {
    if (request.workspace > 0) {
        config.setMemoryPoolLimit(trt::MemoryPoolType::kWORKSPACE, request.workspace);
    }
    if (request.optimization_level >= 0) {
        config.setBuilderOptimizationLevel(request.optimization_level);
    }
}

#if CENTERX_TRT_IS_RTX
// TensorRT-RTX measures nothing while it builds.
struct Timings {
    void begin(trt::IBuilderConfig&, Request const&) {}
    Memory save() const { return {}; }
};
#else
// What was measured, to be kept for the next build. TensorRT wants it to outlive the builder.
class Timings {
public:
    // A cache of another GPU or version is refused, with a warning; the build then begins with an empty one.
    void begin(trt::IBuilderConfig& config, Request const& request) {
        if (request.timing_cache_size == 0 || !attach(config, request.timing_cache, request.timing_cache_size)) {
            attach(config, nullptr, 0);
        }
    }

    Memory save() const { return mCache ? memory(mCache->serialize()) : Memory{}; }

private:
    bool attach(trt::IBuilderConfig& config, void const* data, size_t size) {
        mCache.reset(config.createTimingCache(data, size));
        return mCache && config.setTimingCache(*mCache, false);
    }

    std::unique_ptr<trt::ITimingCache> mCache;
};
#endif

// A context's just-in-time compiled kernels, to be kept on disk. Only TensorRT-RTX has them.
struct RuntimeCache {
    std::unique_ptr<trt::IRuntimeConfig> config;
#if CENTERX_TRT_IS_RTX
    std::unique_ptr<trt::IRuntimeCache> cache;
#endif
};

using Strategy = trt::ExecutionContextAllocationStrategy;

trt::ICudaEngine* engine_of(void* engine) { return static_cast<trt::ICudaEngine*>(engine); }
trt::IExecutionContext* context_of(void* context) { return static_cast<trt::IExecutionContext*>(context); }
cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

} // namespace

extern "C" {

// The version of the headers as getInferLibVersion tells that of the library.
int32_t EXPORT(header_version)() { return static_cast<int32_t>(NV_TENSORRT_VERSION); }

// TensorRT keeps the first logger it is given for as long as any object lives, so a logger is never freed.
void* EXPORT(logger_new)(LogFn log, void* user) { return new (std::nothrow) Logger{log, user}; }

void EXPORT(memory_free)(void* owner) { delete static_cast<trt::IHostMemory*>(owner); }

// Makes a plan of an ONNX file. On kDone plan is filled, and so is cache if there is a timing cache to keep.
int32_t EXPORT(build)(void* builder_factory, void* parser_factory, void* logger, Request const* request, Memory* plan,
    Memory* cache) {
    auto& log = *static_cast<Logger*>(logger);
    // In the order of dependence: what is declared later is freed first.
    Timings timings;
    Monitor monitor{request->progress, request->progress_user};
    auto* create = reinterpret_cast<CoreFactory>(builder_factory);
    std::unique_ptr<trt::IBuilder> builder{checked<trt::IBuilder>(create(&log, NV_TENSORRT_VERSION))};
    if (!builder) {
        return kBuilder;
    }
    std::unique_ptr<trt::INetworkDefinition> network{builder->createNetworkV2(0)};
    std::unique_ptr<trt::IBuilderConfig> config{builder->createBuilderConfig()};
    if (!network || !config) {
        return kBuilder;
    }
    if (!set_capabilities(*config, *request)) {
        return kCapability;
    }
    std::unique_ptr<nvonnxparser::IParser> parser; // The network reads weights out of it.
    if (auto const status = parse(*network, parser_factory, log, *request, parser); status != kDone) {
        return status;
    }
    if (!add_profiles(*builder, *config, *request)) {
        return kProfile;
    }
    configure(*config, *request);
    if (request->progress != nullptr) {
        config->setProgressMonitor(&monitor);
    }
    timings.begin(*config, *request);
    *plan = memory(builder->buildSerializedNetwork(*network, *config));
    *cache = timings.save();
    return plan->owner == nullptr ? kBuild : kDone;
}

void* EXPORT(runtime_new)(void* factory, void* logger) {
    return checked<trt::IRuntime>(reinterpret_cast<CoreFactory>(factory)(logger, NV_TENSORRT_VERSION));
}
void EXPORT(runtime_free)(void* runtime) { delete static_cast<trt::IRuntime*>(runtime); }

void* EXPORT(engine_new)(void* runtime, void const* plan, size_t size) {
    return static_cast<trt::IRuntime*>(runtime)->deserializeCudaEngine(plan, size);
}
void EXPORT(engine_free)(void* engine) { delete engine_of(engine); }

int32_t EXPORT(engine_tensor_count)(void* engine) { return engine_of(engine)->getNbIOTensors(); }
// The name lives as long as the engine.
char const* EXPORT(engine_tensor_name)(void* engine, int32_t index) {
    return engine_of(engine)->getIOTensorName(index);
}
int32_t EXPORT(engine_tensor_is_input)(void* engine, char const* name) {
    return engine_of(engine)->getTensorIOMode(name) == trt::TensorIOMode::kINPUT;
}
int32_t EXPORT(engine_tensor_type)(void* engine, char const* name) {
    return static_cast<int32_t>(engine_of(engine)->getTensorDataType(name));
}
// -1 among the dimensions: depends on the input.
int32_t EXPORT(engine_tensor_shape)(void* engine, char const* name, int64_t* values) {
    return write(engine_of(engine)->getTensorShape(name), values);
}
int32_t EXPORT(engine_profile_count)(void* engine) { return engine_of(engine)->getNbOptimizationProfiles(); }
// which: 0 the least, 1 the best, 2 the greatest.
int32_t EXPORT(engine_profile_shape)(void* engine, char const* name, int32_t profile, int32_t which, int64_t* values) {
    return write(
        engine_of(engine)->getProfileShape(name, profile, static_cast<trt::OptProfileSelector>(which)), values);
}
// Bytes that a context needs for its own use.
int64_t EXPORT(engine_device_memory)(void* engine, int32_t profile) {
    return engine_of(engine)->getDeviceMemorySizeForProfileV2(profile);
}

void* EXPORT(inspector_new)(void* engine) { return engine_of(engine)->createEngineInspector(); }
// JSON, which lives as long as the inspector.
char const* EXPORT(inspector_text)(void* inspector) {
    return static_cast<trt::IEngineInspector*>(inspector)->getEngineInformation(trt::LayerInformationFormat::kJSON);
}
void EXPORT(inspector_free)(void* inspector) { delete static_cast<trt::IEngineInspector*>(inspector); }

// data may be null; a cache of another GPU or version counts for nothing. Null where there is no such cache.
void* EXPORT(runtime_cache_new)(void* engine, void const* data, size_t size) {
#if CENTERX_TRT_IS_RTX
    std::unique_ptr<RuntimeCache> made{new (std::nothrow) RuntimeCache{}};
    if (!made) {
        return nullptr;
    }
    made->config.reset(engine_of(engine)->createRuntimeConfig());
    if (made->config) {
        made->cache.reset(made->config->createRuntimeCache());
    }
    if (!made->cache) {
        return nullptr;
    }
    if (size > 0) {
        made->cache->deserialize(data, size);
    }
    return made->config->setRuntimeCache(*made->cache) ? made.release() : nullptr;
#else
    static_cast<void>(engine);
    static_cast<void>(data);
    static_cast<void>(size);
    return nullptr;
#endif
}
void EXPORT(runtime_cache_save)(void* cache, Memory* saved) {
#if CENTERX_TRT_IS_RTX
    *saved = memory(static_cast<RuntimeCache*>(cache)->cache->serialize());
#else
    static_cast<void>(cache);
    *saved = Memory{};
#endif
}
void EXPORT(runtime_cache_free)(void* cache) { delete static_cast<RuntimeCache*>(cache); }

// cache may be null. With own_memory 0 TensorRT allocates what the context needs, otherwise context_memory gives it.
void* EXPORT(context_new)(void* engine, void* cache, int32_t own_memory) {
    auto const strategy = own_memory != 0 ? Strategy::kUSER_MANAGED : Strategy::kSTATIC;
    if (cache == nullptr) {
        return engine_of(engine)->createExecutionContext(strategy);
    }
    auto* config = static_cast<RuntimeCache*>(cache)->config.get();
    config->setExecutionContextAllocationStrategy(strategy);
    return engine_of(engine)->createExecutionContext(config);
}
void EXPORT(context_free)(void* context) { delete context_of(context); }

int32_t EXPORT(context_profile)(void* context, int32_t profile, void* stream) {
    return context_of(context)->setOptimizationProfileAsync(profile, stream_of(stream));
}
void EXPORT(context_memory)(void* context, void* device, int64_t size) {
    context_of(context)->setDeviceMemoryV2(device, size);
}
int32_t EXPORT(context_shape)(void* context, char const* name, int64_t const* values, int32_t rank) {
    return context_of(context)->setInputShape(name, dims(values, rank));
}
// The shape that a tensor has with the inputs as they were set.
int32_t EXPORT(context_tensor_shape)(void* context, char const* name, int64_t* values) {
    return write(context_of(context)->getTensorShape(name), values);
}
int32_t EXPORT(context_address)(void* context, char const* name, void* device) {
    return context_of(context)->setTensorAddress(name, device);
}
int32_t EXPORT(context_enqueue)(void* context, void* stream) {
    return context_of(context)->enqueueV3(stream_of(stream));
}
}
