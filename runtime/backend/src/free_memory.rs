//! After a load, memory that was freed goes back to the system.
//!
//! Reading and optimising a graph needs many times what its plans keep, in small pieces that the C library holds on
//! to. Only glibc offers this; elsewhere nothing is done. With another allocator in the process it is of no effect.

#![allow(unsafe_code, reason = "the C library's call has no safe form")]

/// Asks the C library to give free memory back; takes a fraction of a millisecond for small heaps.
pub fn give_back_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes no pointer, may be made at any time from any thread, and changes no memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
