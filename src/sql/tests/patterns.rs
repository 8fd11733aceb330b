use std::sync::Arc;

use crate::sql::{Digest, Lexing, Patterns};

const LEXING: Lexing = Lexing { conforming: true, encoding: crate::sql::Encoding::Safe };

#[test]
fn what_was_learnt_is_known_for_all_statements_of_the_pattern() {
    let patterns = Patterns::new(100);
    assert!(patterns.known(b"select 1 from t", &LEXING).is_none());
    let learnt = patterns.learn(b"select 1 from t", &LEXING);
    let known = patterns.known(b"SELECT 'x' FROM t -- again", &LEXING).expect("known");
    assert!(Arc::ptr_eq(&learnt, &known));
    assert!(Arc::ptr_eq(&learnt, &patterns.learn(b"select $1 from t", &LEXING)));
    assert_eq!(patterns.known_by(learnt.digest).expect("known").digest, learnt.digest);
    assert_eq!(learnt.digest, Digest::of(b"select 2 from t", &LEXING));
    assert!(patterns.known(b"select 1 from u", &LEXING).is_none());
    assert_eq!(patterns.len(), 1);
}

#[test]
fn memory_is_bounded_and_what_is_in_use_stays() {
    for limit in [1, 10, 64, 200, 1000] {
        let patterns = Patterns::new(limit);
        let wanted = b"select wanted from t";
        patterns.learn(wanted, &LEXING);
        for number in 0..3 * limit {
            patterns.learn(format!("listen c{number}").as_bytes(), &LEXING);
            assert!(patterns.len() <= limit);
            assert!(limit < 10 || patterns.known(wanted, &LEXING).is_some(), "{limit}: lost after {number}");
        }
        assert!(patterns.len() > limit / 2, "{limit}: {}", patterns.len());
    }
}

#[test]
fn queued_texts_are_learnt_by_the_thread_that_works() {
    let patterns = Patterns::new(100);
    patterns.learn_later(b"select a from t", &LEXING);
    patterns.learn_later(b"select a from t where b = 2", &LEXING);
    assert!(patterns.known(b"select a from t", &LEXING).is_none());
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| patterns.work());
        while patterns.known(b"select a from t where b = 3", &LEXING).is_none() {
            std::thread::yield_now();
        }
        patterns.stop();
        worker.join().expect("the worker returns");
    });
    assert!(patterns.known(b"select a from t", &LEXING).is_some());
}

#[test]
fn texts_that_wait_at_the_end_are_parsed_all_the_same() {
    let patterns = Patterns::new(100);
    patterns.learn_later(b"select a from t", &LEXING);
    patterns.learn_later(b"select b from t", &LEXING);
    patterns.parse_waiting();
    assert!(
        patterns.known(b"select a from t", &LEXING).is_some() && patterns.known(b"select b from t", &LEXING).is_some()
    );
    patterns.stop();
    patterns.work();
}

#[test]
fn a_queue_that_is_full_drops_texts_and_no_thread_waits_after_the_stop() {
    let patterns = Patterns::new(10_000);
    for number in 0..2_000 {
        patterns.learn_later(format!("select c{number} from t").as_bytes(), &LEXING);
    }
    patterns.learn_later(&vec![b' '; 8 << 20], &LEXING);
    patterns.stop();
    patterns.work();
    assert_eq!(patterns.len(), 0, "what waits at the stop is forgotten");
    patterns.learn_later(b"select 1", &LEXING);
    patterns.work();
    assert!(patterns.is_empty());
}

#[test]
fn many_threads_share_one_memo() {
    let patterns = Patterns::new(50);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let patterns = &patterns;
            scope.spawn(move || {
                for number in 0..300 {
                    let text = format!("select c{} from t", (number * (thread + 1)) % 80);
                    assert_eq!(&*patterns.learn(text.as_bytes(), &LEXING).normalised, text);
                }
            });
        }
    });
    assert!(patterns.len() <= 50);
}
