//! How a process takes memory from the system.

/// Takes it in pages of the usual size, and gives them back one by one.
///
/// The allocator asks for huge ones, 2 MiB each, which a process with many small things holds for a few of them: twice
/// the memory, measured. Hashing is better off with them; only a process that does not hash should ask for this.
pub fn in_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "memory is taken in huge pages");
    }
}
