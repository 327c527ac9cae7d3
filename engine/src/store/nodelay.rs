//! Statements leave at once: switches Nagle's algorithm off on the connections to Postgres.
//!
//! sqlx 0.9.0 leaves it on. The last part of a statement that does not fit into one segment then waits until the server
//! has acknowledged what came before, which the server puts off for 40 ms. A pool does not give its sockets away, so they
//! are looked for among the descriptors of this process, after each connection is made. To be deleted with the version
//! that does it itself.

use std::{
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, RawFd},
};

use rustix::net::{getpeername, sockopt::set_tcp_nodelay};

/// For every TCP connection of this process to this port. Where descriptors are not listed, nothing is changed.
pub(super) fn to_port(port: u16) -> io::Result<()> {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return Ok(()) };
    for name in descriptors.filter_map(|entry| Some(entry.ok()?.file_name())) {
        let Some(descriptor) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        #[expect(unsafe_code, reason = "the one way to a descriptor that somebody else owns")]
        // SAFETY: it is neither closed nor kept. Should its owner close it meanwhile, the two calls fail, or meet a socket
        // that took its number, which may do without the algorithm as well.
        let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
        if peer(socket).is_some_and(|peer| peer.port() == port) {
            set_tcp_nodelay(socket, true)?;
        }
    }
    Ok(())
}

fn peer(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    getpeername(socket).ok()??.try_into().ok()
}
