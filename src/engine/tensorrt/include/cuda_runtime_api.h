// TensorRT's headers ask for CUDA's, of which they only need that streams and events are pointers. Said here, so that
// the shim is built without a CUDA toolkit.
#pragma once

struct CUstream_st;
struct CUevent_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
