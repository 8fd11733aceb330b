//! Streams that move between two threads, each with a runtime of its own.

use std::sync::mpsc;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::authority::{Authority, dials, listens};
use super::{on_one_runtime, pair};
use crate::config::ServerTlsMode;
use crate::net::{ListenTls, ServerTls, Stream, TlsOpening};

/// Reads part of what came on one thread and the rest on another, whose runtime outlives the first one's; then both
/// ends talk over it. Each end is the one that moves, once.
fn moves_to_another_thread(connect: &(impl AsyncFn() -> (Stream, Stream) + Send + Clone + 'static)) {
    for swapped in [false, true] {
        let connect = connect.clone();
        let (give, take) = mpsc::channel();
        let first = thread::spawn(move || {
            on_one_runtime(async {
                let (accepted, dialled) = connect().await;
                let (mut moving, mut staying) = if swapped { (dialled, accepted) } else { (accepted, dialled) };
                staying.write_all(b"one two").await.unwrap();
                staying.flush().await.unwrap();
                let mut some = [0; 4];
                moving.read_exact(&mut some).await.unwrap();
                assert_eq!(&some, b"one ");
                give.send((moving, staying)).unwrap();
            });
        });
        let (mut moving, mut staying) = take.recv().unwrap();
        first.join().unwrap();
        on_one_runtime(async {
            moving.rehome().unwrap();
            staying.rehome().unwrap();
            moving.readable().await.unwrap();
            let mut rest = [0; 3];
            moving.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"two");
            moving.write_all(b"three").await.unwrap();
            moving.shutdown().await.unwrap();
            let mut all = Vec::new();
            staying.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"three");
        });
    }
}

#[test]
fn a_plain_stream_moves_to_another_thread() {
    moves_to_another_thread(&pair);
}

#[test]
fn a_unix_stream_moves_to_another_thread() {
    moves_to_another_thread(&async || {
        let (one, other) = tokio::net::UnixStream::pair().unwrap();
        (Stream::accepted_unix(one), Stream::accepted_unix(other))
    });
}

#[test]
fn an_encrypted_stream_moves_to_another_thread_with_what_it_has_decrypted() {
    let authority = Authority::new();
    let listen = ListenTls::load(&listens(authority.issue("localhost", &["localhost"]))).unwrap().unwrap();
    let dial = ServerTls::load(&dials(ServerTlsMode::VerifyFull, Some(authority.ca()))).unwrap().unwrap();
    moves_to_another_thread(&async move || {
        let (accepted, dialled) = pair().await;
        tokio::try_join!(listen.accept(accepted, &[], TlsOpening::Requested), dial.connect(dialled, "localhost"))
            .unwrap()
    });
}

#[test]
fn a_stream_goes_back_and_forth_while_both_threads_live() {
    let (to_other, from_one) = mpsc::channel::<Stream>();
    let (to_one, from_other) = mpsc::channel::<Stream>();
    let other = thread::spawn(move || {
        on_one_runtime(async {
            for mut stream in from_one {
                stream.rehome().unwrap();
                let number = stream.read_u32().await.unwrap();
                stream.write_u32(number + 1).await.unwrap();
                to_one.send(stream).unwrap();
            }
        });
    });
    on_one_runtime(async {
        let (mut here, mut moving) = pair().await;
        for number in 0..100 {
            here.write_u32(number).await.unwrap();
            to_other.send(moving).unwrap();
            moving = from_other.recv().unwrap();
            moving.rehome().unwrap();
            assert_eq!(here.read_u32().await.unwrap(), number + 1);
        }
        drop(to_other);
    });
    other.join().unwrap();
}
