// Letterboxes a batch of decoded pictures into uint8 RGB, [count, height, width, 3], one thread a pixel.
//
// One source for two compilers: NVRTC makes GPU code of it at run time, the host's C++ compiler makes what the
// tests compare with the CPU path (host.cpp). There is no floating point in it, so that both come to the same
// bytes. It computes what ../../../letterbox/resize.rs computes: weights of 14 bits, rows first, 8 bits kept after the point
// between the passes; chroma goes to the size of the letterboxed picture directly, as area averages.
//
// NVRTC brings no standard headers, and none are needed.

#ifdef __CUDACC__
#define ANYWHERE static __device__ __forceinline__
#else
#define ANYWHERE static inline
#endif

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// PixelFormat of frame.rs; the numbers are those of descriptor.rs.
enum Format : u32 { I420 = 0, NV12 = 1, RGB = 2 };

// Fixed point. Enumerators, because NVRTC would keep constants as variables in device memory.
enum Bits : u32 {
    // Of a weight.
    WEIGHT_BITS = 14,
    // Kept after the point between the passes.
    KEPT_BITS = 8,
    // After the point of the colour matrix.
    COLOR_BITS = 13,
    // After the point of a tap's share of the whole, beyond those of a weight.
    SHARE_BITS = 32,
};

// A decoded picture, and where it goes. `Descriptor` of descriptor.rs is the same, byte for byte.
struct Picture {
    u64 planes[3];
    u32 strides[3];
    u32 format;
    u32 width, height;
    u32 fit_width, fit_height;
    int luma_offset;
    int luma;
    int red_v;
    int green_u, green_v;
    int blue_u;
};

// What a launch works on. `Batch` of descriptor.rs is the same, byte for byte.
struct Batch {
    u64 pictures;
    u64 target;
    u32 width, height;
};

static_assert(sizeof(void *) == sizeof(u64), "addresses are of 64 bits");
static_assert(sizeof(Picture) == 80 && alignof(Picture) == 8, "Descriptor of descriptor.rs");
static_assert(sizeof(Batch) == 24 && alignof(Batch) == 8, "Batch of descriptor.rs");

// Neighbouring pixels of one axis that make up an output position, and how much each takes part: the first
// `head` of `total`, each further one `step`, the last what is left.
struct Taps {
    u32 first, count;
    u32 head, step, total;
    // One over total, in fixed point.
    u64 share;
};

ANYWHERE Taps make_taps(u32 first, u32 count, u32 head, u32 step, u32 total) {
    const u64 one = 1ull << (WEIGHT_BITS + SHARE_BITS);
    Taps taps = {first, count, head, step, total, (one + total / 2) / total};
    return taps;
}

// A position that averages the span it covers. In units in which a source pixel is `target` long, that is
// `source` long, and every edge is a whole number.
ANYWHERE Taps area_taps(u32 position, u32 source, u32 target) {
    const u32 begin = position * source, end = begin + source;
    const u32 first = begin / target, last = (end - 1) / target;
    const u32 head = (first + 1) * target < end ? (first + 1) * target - begin : source;
    return make_taps(first, last - first + 1, head, target, source);
}

// A position that lies between the centres of two pixels. In units in which a source pixel is `2 * target` long,
// its own centre is at (2 * position + 1) * source - target; one pixel more keeps that from being negative.
ANYWHERE Taps linear_taps(u32 position, u32 source, u32 target) {
    const u32 unit = 2 * target;
    const u32 center = (2 * position + 1) * source + target;
    const u32 right = center / unit, past = center % unit;
    if (right == 0) {
        return make_taps(0, 1, unit, unit, unit);
    }
    if (right >= source || past == 0) {
        return make_taps(right - 1, 1, unit, unit, unit);
    }
    return make_taps(right - 1, 2, unit - past, past, unit);
}

ANYWHERE Taps axis_taps(u32 position, u32 source, u32 target, bool grow_linear) {
    return grow_linear && source < target ? linear_taps(position, source, target)
                                          : area_taps(position, source, target);
}

// What the taps up to this one weigh together. Weights are the differences of these, so that they always add up
// to one however many there are.
ANYWHERE u32 weight_until(const Taps &taps, u32 tap) {
    const u32 covered = taps.head + tap * taps.step;
    const u64 wide = (covered < taps.total ? covered : taps.total) * taps.share;
    return (u32)((wide + (1ull << (SHARE_BITS - 1))) >> SHARE_BITS);
}

// The weighted sum of one column's rows, for CHANNELS interleaved bytes, with KEPT_BITS after the point.
template <u32 CHANNELS> ANYWHERE void sum_rows(const u8 *at, u32 stride, const Taps &rows, u32 *sums) {
    const u32 shift = WEIGHT_BITS - KEPT_BITS;
    for (u32 channel = 0; channel < CHANNELS; ++channel) {
        sums[channel] = 1u << (shift - 1);
    }
    for (u32 row = 0, given = 0; row < rows.count; ++row, at += stride) {
        const u32 until = weight_until(rows, row), weight = until - given;
        given = until;
        for (u32 channel = 0; channel < CHANNELS; ++channel) {
            sums[channel] += weight * at[channel];
        }
    }
    for (u32 channel = 0; channel < CHANNELS; ++channel) {
        sums[channel] >>= shift;
    }
}

// One pixel of a resized plane of CHANNELS interleaved bytes.
template <u32 CHANNELS>
ANYWHERE void sample(const Picture &picture, u32 plane, const Taps &columns, const Taps &rows, u8 *out) {
    const u32 shift = KEPT_BITS + WEIGHT_BITS, stride = picture.strides[plane];
    const u8 *at = (const u8 *)picture.planes[plane] + (u64)rows.first * stride + columns.first * CHANNELS;
    u32 wide[CHANNELS], sums[CHANNELS];
    for (u32 channel = 0; channel < CHANNELS; ++channel) {
        wide[channel] = 1u << (shift - 1);
    }
    for (u32 column = 0, given = 0; column < columns.count; ++column, at += CHANNELS) {
        const u32 until = weight_until(columns, column), weight = until - given;
        given = until;
        sum_rows<CHANNELS>(at, stride, rows, sums);
        for (u32 channel = 0; channel < CHANNELS; ++channel) {
            wide[channel] += weight * sums[channel];
        }
    }
    for (u32 channel = 0; channel < CHANNELS; ++channel) {
        out[channel] = (u8)(wide[channel] >> shift);
    }
}

ANYWHERE u8 to_byte(int fixed) {
    const int level = (fixed + (1 << (COLOR_BITS - 1))) >> COLOR_BITS;
    return (u8)(level < 0 ? 0 : level > 255 ? 255 : level);
}

// Luma below black counts as black, as the vector code of the CPU path has it.
ANYWHERE void to_rgb(const Picture &picture, int y, int u, int v, u8 *out) {
    const int light = y > picture.luma_offset ? (y - picture.luma_offset) * picture.luma : 0;
    u -= 128;
    v -= 128;
    out[0] = to_byte(light + v * picture.red_v);
    out[1] = to_byte(light - u * picture.green_u - v * picture.green_v);
    out[2] = to_byte(light + u * picture.blue_u);
}

// One pixel of the letterboxed picture, inside of what the picture covers.
ANYWHERE void fitted_pixel(const Picture &picture, u32 x, u32 y, u8 *out) {
    const Taps columns = axis_taps(x, picture.width, picture.fit_width, true);
    const Taps rows = axis_taps(y, picture.height, picture.fit_height, true);
    if (picture.format == RGB) {
        sample<3>(picture, 0, columns, rows, out);
        return;
    }
    const Taps chroma_columns = axis_taps(x, (picture.width + 1) / 2, picture.fit_width, false);
    const Taps chroma_rows = axis_taps(y, (picture.height + 1) / 2, picture.fit_height, false);
    u8 luma, chroma[2];
    sample<1>(picture, 0, columns, rows, &luma);
    if (picture.format == NV12) {
        sample<2>(picture, 1, chroma_columns, chroma_rows, chroma);
    } else {
        sample<1>(picture, 1, chroma_columns, chroma_rows, &chroma[0]);
        sample<1>(picture, 2, chroma_columns, chroma_rows, &chroma[1]);
    }
    to_rgb(picture, luma, chroma[0], chroma[1], out);
}

// Pixel (x, y) of picture `place` of the batch; what the picture does not cover becomes zero.
ANYWHERE void letterbox_pixel(const Batch &batch, u32 x, u32 y, u32 place) {
    if (x >= batch.width || y >= batch.height) {
        return;
    }
    const Picture &picture = ((const Picture *)batch.pictures)[place];
    u8 pixel[3] = {0, 0, 0};
    if (x < picture.fit_width && y < picture.fit_height) {
        fitted_pixel(picture, x, y, pixel);
    }
    u8 *out = (u8 *)batch.target + (((u64)place * batch.height + y) * batch.width + x) * 3;
    out[0] = pixel[0];
    out[1] = pixel[1];
    out[2] = pixel[2];
}

#ifdef __CUDACC__
// Blocks cover a picture in x and y; z is the picture's place in the batch.
extern "C" __global__ void centerx_letterbox(const Batch batch) {
    const u32 x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    letterbox_pixel(batch, x, y, blockIdx.z);
}
#endif
