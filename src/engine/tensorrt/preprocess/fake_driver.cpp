// A CUDA driver for the tests, with the functions of it that launch.rs uses: its device is the host, and a launch
// is done when it returns. It checks handles, so that a wrong order of calls fails.

#include <cstring>

#include "kernel.cu"

// CUresult, as many as are used.
enum Result { SUCCESS = 0, INVALID_IMAGE = 200, INVALID_HANDLE = 400, NOT_FOUND = 500 };

struct Module {
    bool loaded, has_kernel;
};
static Module modules[8];
static int module_count = 0;

extern "C" Result cuModuleLoadData(Module **module, const char *image) {
    if (memcmp(image, "\x7f" "ELF", 4) != 0) {
        return INVALID_IMAGE;
    }
    *module = &modules[module_count++];
    **module = {true, strstr(image, "centerx_letterbox") != nullptr};
    return SUCCESS;
}

// A function is known by its module.
extern "C" Result cuModuleGetFunction(Module **function, Module *module, const char *name) {
    if (!module->loaded) {
        return INVALID_HANDLE;
    }
    *function = module;
    return module->has_kernel && strcmp(name, "centerx_letterbox") == 0 ? SUCCESS : NOT_FOUND;
}

extern "C" Result cuModuleUnload(Module *module) {
    if (!module->loaded) {
        return INVALID_HANDLE;
    }
    module->loaded = false;
    return SUCCESS;
}

extern "C" Result cuLaunchKernel(Module *function, u32 grid_x, u32 grid_y, u32 grid_z, u32 block_x, u32 block_y,
                                 u32 block_z, u32 shared, void *stream, void **parameters, void **extra) {
    if (!function->loaded || stream != nullptr || block_z != 1 || shared != 0 || extra != nullptr) {
        return INVALID_HANDLE;
    }
    const Batch &batch = *(const Batch *)parameters[0];
    for (u32 z = 0; z < grid_z; ++z) {
        for (u32 y = 0; y < grid_y * block_y; ++y) {
            for (u32 x = 0; x < grid_x * block_x; ++x) {
                letterbox_pixel(batch, x, y, z);
            }
        }
    }
    return SUCCESS;
}

extern "C" Result cuGetErrorString(Result result, const char **text) {
    *text = result == INVALID_IMAGE    ? "not an image"
            : result == INVALID_HANDLE ? "no such handle"
            : result == NOT_FOUND      ? "not found"
                                       : "no error";
    return SUCCESS;
}

extern "C" int fakeModulesLoaded() {
    int loaded = 0;
    for (const Module &module : modules) {
        loaded += module.loaded;
    }
    return loaded;
}
