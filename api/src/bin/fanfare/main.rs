use fanfare::allocations::Counted;
use mimalloc::MiMalloc;

/// A third of the time per message went into the default allocator; see loadtests/RESULTS.md.
#[global_allocator]
static ALLOCATOR: Counted<MiMalloc> = Counted(MiMalloc);

fn main() -> std::process::ExitCode {
    // Huge pages are filled with 2 MB for a few kilobytes: they made 77 MB of 46, and sent no faster. A kernel without them
    // is as good.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    fanfare::cli::main()
}
