//! Sockets that clients connect to.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Listens on `address`. The socket does not block, may follow at once upon one that was closed (SO_REUSEADDR), and
/// lets the kernel hold `backlog` pending connections.
///
/// # Errors
/// The system's reason, with the address.
pub fn listen_tcp(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(queue(backlog))?;
        Ok(socket.into())
    };
    open().map_err(|error| about(&format!("cannot listen on {address}"), &error))
}

/// A unix socket that listens; its file goes when this is dropped, unless another process has put its own there.
#[derive(Debug)]
pub struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our file.
    file: (u64, u64),
}

impl UnixDoor {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A handle for the runtime to accept from; it does not block, and does not keep the file alive.
    ///
    /// # Errors
    /// The system's reason, when it has no file left to give.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.file) {
            // Nobody is left to tell; the next start removes a file without an owner.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `<folder>/.s.PGSQL.<port>`, where libpq looks for it, with permission bits `mode`.
///
/// A file that a dead process left is replaced.
///
/// # Errors
/// `AddrInUse` when a living process accepts there, `AlreadyExists` when the path is no socket; otherwise the
/// system's reason. The text names the path.
pub fn listen_unix(folder: &Path, port: u16, mode: u32, backlog: u32) -> io::Result<UnixDoor> {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    let open = || -> io::Result<UnixDoor> {
        clear_stale(&path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(&path)?)?;
        let metadata = fs::symlink_metadata(&path)?;
        let door = UnixDoor { listener: socket.into(), path: path.clone(), file: (metadata.dev(), metadata.ino()) };
        // Before it listens nobody can connect, so nobody gets in under wider bits than these.
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        socket2::SockRef::from(&door.listener).listen(queue(backlog))?;
        Ok(door)
    };
    open().map_err(|error| about(&format!("cannot listen on unix socket \"{}\"", path.display()), &error))
}

/// Removes a socket file that nobody listens on.
fn clear_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, or not allowed to, or its queue is full: somebody lives there.
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process is listening there")),
    }
}

fn queue(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

fn about(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
