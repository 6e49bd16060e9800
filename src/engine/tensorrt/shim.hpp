// What shim.cpp needs of its own: callbacks into Rust as TensorRT wants them, and dimensions.

#pragma once

#include "NvInfer.h"
#include "NvInferRuntime.h"
#include "NvOnnxParser.h"

#include <cstddef>
#include <cstdint>

namespace {

namespace trt = nvinfer1;

using LogFn = void (*)(void* user, int32_t severity, char const* text);
using ProgressFn = int32_t (*)(void* user, int32_t event, char const* phase, char const* parent, int32_t number);
using CoreFactory = void* (*)(void* logger, int32_t version);
using ParserFactory = void* (*)(void* network, void* logger, int32_t version);

class Logger final : public trt::ILogger {
public:
    Logger(LogFn log, void* user) : mLog{log}, mUser{user} {}

    void log(Severity severity, char const* text) noexcept override {
        mLog(mUser, static_cast<int32_t>(severity), text);
    }

private:
    LogFn mLog;
    void* mUser;
};

// Called from several of TensorRT's threads at a time.
class Monitor final : public trt::IProgressMonitor {
public:
    Monitor(ProgressFn progress, void* user) : mProgress{progress}, mUser{user} {}

    void phaseStart(char const* phase, char const* parent, int32_t steps) noexcept override {
        mProgress(mUser, 0, phase, parent, steps);
    }
    bool stepComplete(char const* phase, int32_t step) noexcept override {
        return mProgress(mUser, 1, phase, nullptr, step) != 0;
    }
    void phaseFinish(char const* phase) noexcept override { mProgress(mUser, 2, phase, nullptr, 0); }

private:
    ProgressFn mProgress;
    void* mUser;
};

// Without a driver some factories answer an offset from null, such as 0x228, in place of null.
template <typename T>
T* checked(void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) < 4096 ? nullptr : static_cast<T*>(pointer);
}

trt::Dims64 dims(int64_t const* values, int32_t rank) {
    trt::Dims64 dims{};
    dims.nbDims = rank < trt::Dims64::MAX_DIMS ? rank : trt::Dims64::MAX_DIMS;
    for (int32_t at = 0; at < dims.nbDims; ++at) {
        dims.d[at] = values[at];
    }
    return dims;
}

// Writes the dimensions into values, which has room for eight, and returns how many they are, -1 for no such tensor.
int32_t write(trt::Dims64 const& dims, int64_t* values) {
    for (int32_t at = 0; at < dims.nbDims; ++at) {
        values[at] = dims.d[at];
    }
    return dims.nbDims;
}

} // namespace
