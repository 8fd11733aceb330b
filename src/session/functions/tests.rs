use super::*;
use crate::sql::Patterns;

/// In a database without operators of its own.
fn functions() -> Functions {
    let functions = Functions::new(100, &["public.Native".to_owned()], Arc::default());
    functions.learnt(functions.asked(Instant::now()), &[Callee::Operators]);
    functions
}

fn judge(functions: &Functions, name: &str, now: Instant) -> Judgement {
    functions.judge([Callee::function(name.as_bytes())].into_iter(), &[], now)
}

fn define(functions: &Functions, name: &str, body: &str, now: Instant) {
    let head = "CREATE OR REPLACE FUNCTION public.x()\n RETURNS void\n LANGUAGE plpgsql\n SET work_mem TO '1MB'";
    let asked = functions.asked(now);
    functions.learn(asked, name.as_bytes(), format!("{head}\nAS $function${body}$function$\n").as_bytes());
    functions.learnt(asked, &[Callee::function(name.as_bytes())]);
}

#[test]
fn a_function_is_asked_for_once_and_again_when_its_body_may_be_old() {
    let (functions, now) = (functions(), Instant::now());
    assert_eq!(judge(&functions, "public.adds", now).unknown, [Callee::function(b"adds")]);
    define(&functions, "adds", "begin return 1; end", now);
    assert_eq!(judge(&functions, "adds", now), Judgement::default());
    assert_eq!(judge(&functions, "adds", now + BELIEVED).unknown.len(), 1);
}

#[test]
fn what_is_known_of_a_function_is_what_it_was_when_it_was_last_read() {
    let (functions, now) = (functions(), Instant::now());
    define(&functions, "sets", "begin perform set_config('app.x', nextval('s')::text, false); end", now);
    for age in 1..10 {
        define(&functions, "sets", "begin perform other(1); end", now + BELIEVED * age);
    }
    functions.learnt(functions.asked(now + BELIEVED * 9), &[Callee::function(b"other"), Callee::Operators]);
    assert_eq!(judge(&functions, "sets", now + BELIEVED * 9), Judgement::default());
    assert_eq!(functions.known.get(&Callee::function(b"sets")).unwrap().calls.len(), 2);
}

#[test]
fn what_was_read_before_a_change_is_believed_by_nobody_but_who_asked() {
    for outdated in [Outdated::everything(), Outdated { definitions: Definitions::FUNCTIONS, named: Vec::new() }] {
        let (functions, now) = (functions(), Instant::now());
        let (asked, own) = (functions.asked(now), [Callee::function(b"own")]);
        functions.forget(&outdated);
        functions.learn(asked, b"own", b"CREATE FUNCTION own()\nAS $f$select 1$f$\n");
        functions.learnt(asked, &own);
        functions.learnt(functions.asked(now), &[Callee::Operators]);
        assert_eq!(judge(&functions, "own", now).unknown, own);
        assert_eq!(functions.judge(own.iter().cloned(), &own, now), Judgement::default());
    }
}

#[test]
fn what_was_asked_before_a_change_does_not_undo_what_others_read_after_it() {
    let (functions, now) = (functions(), Instant::now());
    let sets = [Callee::function(b"sets")];
    let said = b"CREATE FUNCTION sets()\nAS $f$select set_config('app.x', '1', false)$f$\n";
    let before = functions.asked(now);
    functions.forget(&Outdated::everything());
    let after = functions.asked(now);
    functions.learn(after, b"sets", said);
    functions.learn(before, b"sets", said);
    functions.learnt(before, &sets);
    functions.learnt(after, &[sets[0].clone(), Callee::Operators]);
    let judgement = judge(&functions, "sets", now);
    assert!(judgement.may_leave && !judgement.unknown.contains(&sets[0]), "{judgement:?}");
    assert_eq!(judgement.custom, [b"app.x"]);
}

#[test]
fn a_name_is_as_long_as_postgresql_reads_it() {
    assert_eq!(Callee::function("s.f".as_bytes()), Callee::function(b"f"));
    let long = "n".repeat(80);
    assert_eq!(Callee::function(long.as_bytes()), Callee::function(&long.as_bytes()[..63]));
    let umlauts = "ü".repeat(40);
    assert_eq!(Callee::function(umlauts.as_bytes()), Callee::function("ü".repeat(31).as_bytes()));
}

#[test]
fn what_a_called_function_does_its_caller_does() {
    let (functions, now) = (functions(), Instant::now());
    define(&functions, "outside", "begin perform inside(1); end", now);
    assert_eq!(judge(&functions, "outside", now).unknown, [Callee::function(b"inside")]);
    define(&functions, "inside", "begin perform set_config('app.x', '1', false); end", now);
    functions.learnt(functions.asked(now), &[Callee::ambiguous(b"set_config")]);
    let judgement = judge(&functions, "outside", now);
    assert!(judgement.may_leave && judgement.unknown.is_empty());
    assert_eq!(judgement.custom, [b"app.x".to_vec()]);
}

#[test]
fn functions_that_call_each_other_come_to_an_end() {
    let (functions, now) = (functions(), Instant::now());
    define(&functions, "ping", "select pong()", now);
    define(&functions, "pong", "select ping()", now);
    assert_eq!(judge(&functions, "ping", now), Judgement::default());
}

#[test]
fn a_users_function_may_have_the_name_of_one_of_postgresqls_own() {
    let (functions, now) = (functions(), Instant::now());
    let log = || [Callee::ambiguous(b"log")].into_iter();
    assert_eq!(functions.judge(log(), &[], now).unknown, [Callee::ambiguous(b"log")]);
    functions.learnt(functions.asked(now), &[Callee::ambiguous(b"log")]);
    assert_eq!(functions.judge(log(), &[], now), Judgement::default());
    functions.learn_call(functions.asked(now), Callee::ambiguous(b"log"), b"log");
    assert_eq!(functions.judge(log(), &[], now).unknown, [Callee::function(b"log")]);
}

#[test]
fn triggers_are_functions_that_a_write_calls() {
    let (functions, now) = (functions(), Instant::now());
    let write = || [Callee::triggers(b"public.t")].into_iter();
    assert_eq!(functions.judge(write(), &[], now).unknown, [Callee::triggers(b"t")]);
    functions.learn_call(functions.asked(now), Callee::triggers(b"t"), b"logs");
    functions.learnt(functions.asked(now), &[Callee::triggers(b"t")]);
    assert_eq!(functions.judge(write(), &[], now).unknown, [Callee::function(b"logs")]);
}

#[test]
fn what_a_function_reads_and_every_operator_may_run_something_of_its_own() {
    let functions = Functions::new(100, &[], Arc::default());
    let now = Instant::now();
    define(&functions, "counts", "select count(*) from v", now);
    let unknown = |name| judge(&functions, name, now).unknown;
    assert_eq!(unknown("counts"), [Callee::ambiguous(b"count"), Callee::reads(b"v"), Callee::Operators]);
    define(&functions, "runs", "begin execute 'insert into ' || $1; end", now);
    assert_eq!(unknown("runs"), [Callee::Operators, Callee::AllTables, Callee::Defines]);
    functions.learn_call(functions.asked(now), Callee::Operators, b"differs");
    functions.learnt(functions.asked(now), &[Callee::Operators, Callee::AllTables, Callee::Defines]);
    assert_eq!(unknown("runs"), [Callee::function(b"differs")]);
}

#[test]
fn what_was_not_read_may_list_of_a_session_what_anything_is_known_to_list() {
    let (functions, now) = (functions(), Instant::now());
    let tells = |name: &[u8]| functions.tell([Callee::function(name)].into_iter());
    let known = |known| Told { known, perhaps: Effects::NONE };
    define(&functions, "lists", "select 1 from pg_listening_channels()", now);
    functions.learnt(functions.asked(now), &[Callee::ambiguous(b"pg_listening_channels")]);
    define(&functions, "calls", "select lists()", now);
    define(&functions, "adds", "select 1 + 1", now);
    assert_eq!((tells(b"lists"), tells(b"calls")), (known(Effects::READS_CHANNELS), known(Effects::READS_CHANNELS)));
    assert_eq!((tells(b"adds"), tells(b"unread").perhaps), (Told::default(), Effects::READS_CHANNELS));
    define(&functions, "draws", "begin return lastval(); end", now);
    functions.learnt(functions.asked(now), &[Callee::ambiguous(b"lastval")]);
    assert_eq!(tells(b"draws"), known(Effects::READS_SEQUENCE));
    assert_eq!(tells(b"unread").perhaps, Effects::READS_CHANNELS, "what is drawn is waited for");
}

#[test]
fn what_is_read_runs_what_its_view_says() {
    let (functions, now) = (functions(), Instant::now());
    let read = || [Callee::reads(b"public.v")].into_iter();
    assert_eq!(functions.judge(read(), &[], now).unknown, [Callee::reads(b"v")]);
    functions.learn_said(functions.asked(now), Callee::reads(b"v"), b" SELECT t.n FROM t WHERE marks(t.n);");
    functions.learnt(functions.asked(now), &[Callee::reads(b"v"), Callee::reads(b"t")]);
    assert_eq!(functions.judge(read(), &[], now).unknown, [Callee::function(b"marks"), Callee::ambiguous(b"n")]);
    functions.learn_said(functions.asked(now), Callee::reads(b"own"), b" SELECT set_config('app.x', '1', false);");
    functions.learnt(functions.asked(now), &[Callee::reads(b"own")]);
    let judgement = functions.judge([Callee::reads(b"own")].into_iter(), &[], now);
    assert!(judgement.may_leave && judgement.custom == [b"app.x".to_vec()]);
}

#[test]
fn a_pattern_that_was_found_harmless_is_so_until_beliefs_end_and_in_no_other_database() {
    let (here, there, now) = (functions(), functions(), Instant::now());
    let pattern = Patterns::new(1).learn(b"select n from t", &Lexing::default());
    assert!(!here.is_harmless(&pattern, now));
    here.find_harmless(&pattern, now);
    assert!(here.is_harmless(&pattern, now) && !there.is_harmless(&pattern, now));
    assert!(!here.is_harmless(&pattern, now + BELIEVED));
    here.forget(&Outdated::everything());
    assert!(!here.is_harmless(&pattern, now));
}

#[test]
fn a_table_that_comes_or_goes_is_asked_about_again_and_no_other() {
    let (functions, now) = (functions(), Instant::now());
    let both = || [Callee::reads(b"kept"), Callee::reads(b"gone")].into_iter();
    functions.learnt(functions.asked(now), &both().collect::<Vec<_>>());
    let pattern = Patterns::new(1).learn(b"select n from kept", &Lexing::default());
    functions.find_harmless(&pattern, now);
    functions.forget(&Outdated { definitions: Definitions::NAMED, named: vec![Callee::reads(b"public.gone")] });
    assert_eq!(functions.judge(both(), &[], now).unknown, [Callee::reads(b"gone")]);
    assert!(!functions.is_harmless(&pattern, now), "what it calls may be another function now");
}

#[test]
fn a_transaction_that_defines_very_many_tables_makes_old_what_is_known_of_all_and_keeps_no_list() {
    let names = |count: usize| {
        let one = |table: usize| Outdated {
            definitions: Definitions::NAMED,
            named: vec![Callee::reads(format!("t{table}").as_bytes())],
        };
        (0..count).map(one).reduce(Outdated::and).unwrap()
    };
    assert_eq!((names(MOST_NAMED).named.len(), names(MOST_NAMED).definitions), (MOST_NAMED, Definitions::NAMED));
    let more = names(MOST_NAMED + 1);
    assert!(more.named.is_empty() && more.has(&Callee::reads(b"other")) && !more.has(&Callee::function(b"f")));
}

#[test]
fn what_cannot_be_read_is_harmless_unless_the_configuration_says_otherwise() {
    let (functions, now) = (functions(), Instant::now());
    for name in ["native", "other"] {
        functions.learn(
            functions.asked(now),
            name.as_bytes(),
            b"CREATE FUNCTION x()\n LANGUAGE c\nAS '$libdir/x', $function$x$function$\n",
        );
        functions.learnt(functions.asked(now), &[Callee::function(name.as_bytes())]);
    }
    assert!(judge(&functions, "native", now).may_leave);
    assert!(!judge(&functions, "other", now).may_leave);
}
