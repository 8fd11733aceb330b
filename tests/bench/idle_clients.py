"""Opens many sessions and leaves them idle, in a process of its own; driven by lines on its input.

    idle_clients.py PORT USER DATABASE COUNT

It opens all and says "open"; at a line it runs one query in each and says "queried"; at the end of input it ends.
"""

import resource
import socket
import struct
import sys

PROTOCOL_3_0 = 196608


def read_exactly(connection, length):
    parts = b""
    while len(parts) < length:
        part = connection.recv(length - len(parts))
        if not part:
            sys.exit("a session was closed")
        parts += part
    return parts


def read_until_ready(connection):
    """Reads messages up to ReadyForQuery; an ErrorResponse ends the process."""
    while True:
        tag, length = struct.unpack("!cI", read_exactly(connection, 5))
        body = read_exactly(connection, length - 4)
        if tag == b"E":
            sys.exit(f"refused: {body!r}")
        if tag == b"Z":
            return


def log_in(port, user, database):
    connection = socket.create_connection(("127.0.0.1", port))
    pairs = f"user\0{user}\0database\0{database}\0application_name\0idle\0\0".encode()
    connection.sendall(struct.pack("!II", 8 + len(pairs), PROTOCOL_3_0) + pairs)
    read_until_ready(connection)
    return connection


def main(port, user, database, count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sessions = [log_in(int(port), user, database) for _ in range(int(count))]
    print("open", flush=True)
    query = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1\0"
    for _ in sys.stdin:
        for session in sessions:
            session.sendall(b"Q" + struct.pack("!I", 4 + len(query)) + query)
            read_until_ready(session)
        print("queried", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
