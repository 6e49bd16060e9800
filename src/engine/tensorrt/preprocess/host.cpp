// The kernel on the host: the same source, compiled as C++, with the thread indices looped over.

#include <cstddef>

#include "kernel.cu"

extern "C" void centerx_letterbox_host(const Batch *batch, u32 count) {
    for (u32 place = 0; place < count; ++place) {
        for (u32 y = 0; y < batch->height; ++y) {
            for (u32 x = 0; x < batch->width; ++x) {
                letterbox_pixel(*batch, x, y, place);
            }
        }
    }
}

// Sizes and offsets of the two structures, in the order in which descriptor.rs lists its own.
extern "C" const size_t centerx_kernel_layout[] = {
    sizeof(Picture),
    offsetof(Picture, planes),
    offsetof(Picture, strides),
    offsetof(Picture, format),
    offsetof(Picture, width),
    offsetof(Picture, height),
    offsetof(Picture, fit_width),
    offsetof(Picture, fit_height),
    offsetof(Picture, luma_offset),
    offsetof(Picture, luma),
    offsetof(Picture, red_v),
    offsetof(Picture, green_u),
    offsetof(Picture, green_v),
    offsetof(Picture, blue_u),
    sizeof(Batch),
    offsetof(Batch, pictures),
    offsetof(Batch, target),
    offsetof(Batch, width),
    offsetof(Batch, height),
};
extern "C" const size_t centerx_kernel_layout_length = sizeof(centerx_kernel_layout) / sizeof(size_t);
