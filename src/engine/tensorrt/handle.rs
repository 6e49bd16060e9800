//! An object of TensorRT's, with what it depends on.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

/// An object of TensorRT's and its owner, which it must not outlive: it is freed first.
#[derive(Debug)]
pub(super) struct Handle<O> {
    pointer: NonNull<c_void>,
    free: unsafe extern "C" fn(*mut c_void),
    owner: O,
}

impl<O> Handle<O> {
    /// Takes what a `_new` of the shim returned; none for null.
    ///
    /// # Safety
    /// `pointer` is null or from the shim, belongs to nobody else, depends on nothing but `owner` and what that keeps,
    /// and `free` is its function.
    pub(super) unsafe fn new(
        pointer: *mut c_void,
        free: unsafe extern "C" fn(*mut c_void),
        owner: O,
    ) -> Option<Self> {
        NonNull::new(pointer).map(|pointer| Self { pointer, free, owner })
    }

    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.pointer.as_ptr()
    }

    pub(super) fn owner(&self) -> &O {
        &self.owner
    }
}

impl<O> Drop for Handle<O> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that this is the function for it, and it is called once.
        unsafe { (self.free)(self.pointer.as_ptr()) };
    }
}
