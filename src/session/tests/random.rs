//! Random clients under random schedules.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use super::frames::*;
use super::script::{Say, Script, direct};
use super::world::{Wish, World};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1..4u32).prop_map(|rows| format!("select {rows}")),
        3 => (0..4u32).prop_map(|row| format!("insert {row}")),
        2 => prop::sample::select(vec!["begin", "commit", "rollback"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["boom", "syntax", "late", "notice", "copy stdout", ""]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["set TimeZone=UTC", "set TimeZone=PST", "show timezone"]).prop_map(str::to_owned),
        1 => Just("deallocate all".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "s", "t", "u"])
}

fn portal() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", "p"])
}

/// A few frames that make sense together.
fn phrase() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let whole = (name(), text(), any::<bool>()).prop_map(|(name, text, described)| {
        let described = described.then(|| describe('S', name));
        [parse(name, &text)].into_iter().chain(described).chain([bind("", name), execute("", 0)]).collect()
    });
    let queries = prop::collection::vec(text(), 1..3).prop_map(|texts| vec![query(&texts.join(";"))]);
    let datum = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "bad"]).prop_map(copy_data),
        1 => prop::sample::select(vec![sync(), sync(), flush()]),
    ];
    let data = prop::collection::vec(datum, 0..5);
    let by_query = prop::sample::select(vec!["copy stdin", "copy stdin;select 1", "copy view stdin"])
        .prop_map(|text| vec![query(text)]);
    let copying = prop::sample::select(vec!["copy stdin", "copy stdin", "copy view stdin", "boom copy stdin"]);
    let by_execute = (copying, name(), portal(), any::<bool>()).prop_map(|(text, name, portal, early)| {
        let early = early.then(sync);
        let begun = [close('S', name), parse(name, text), close('P', portal), bind(portal, name), execute(portal, 0)];
        begun.into_iter().chain(early).collect::<Vec<_>>()
    });
    let copy = (prop_oneof![by_query, by_execute], data, any::<bool>()).prop_map(|(mut frames, data, done)| {
        frames.extend(data);
        frames.extend([if done { copy_done() } else { copy_fail() }, sync()]);
        frames
    });
    // What follows DISCARD ALL in its own batch would run before the startup settings are back.
    let discard = any::<bool>().prop_map(|simple| match simple {
        true => vec![sync(), query("discard all")],
        false => vec![sync(), parse("", "discard all"), bind("", ""), execute("", 0), sync()],
    });
    prop_oneof![
        6 => whole,
        1 => discard,
        4 => queries,
        3 => (portal(), name()).prop_map(|(portal, name)| vec![bind(portal, name)]),
        3 => (portal(), 0..3u32).prop_map(|(portal, rows)| vec![execute(portal, rows)]),
        2 => (name(), text()).prop_map(|(name, text)| vec![parse(name, &text)]),
        // Between Syncs: a statement without rows can be described in a failed transaction, but not parsed anew there.
        1 => name().prop_map(|name| vec![query("rollback"), describe('S', name)]),
        1 => portal().prop_map(|portal| vec![describe('P', portal)]),
        1 => name().prop_map(|name| vec![close('S', name)]),
        1 => portal().prop_map(|portal| vec![close('P', portal)]),
        5 => Just(vec![sync()]),
        1 => Just(vec![flush()]),
        1 => prop::sample::select(vec!["f", "boom"]).prop_map(|function| vec![function_call(function)]),
        2 => copy,
        1 => Just(vec![copy_done()]),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let startup = prop::sample::select(vec![vec![], vec![("TimeZone", "CET")], vec![("application_name", "it's")]]);
    (prop::collection::vec((phrase(), any::<bool>()), 1..14), startup).prop_map(|(phrases, startup)| {
        let mut says = Vec::new();
        for (frames, pause) in phrases {
            says.extend(frames.into_iter().map(Say::Frame));
            says.extend(pause.then_some(Say::Pause));
        }
        // However it stands, this ends it and gives the backend back.
        says.extend([copy_fail(), sync(), query("rollback")].map(Say::Frame));
        Script { startup, says }
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    (
        1..=3usize,
        prop::sample::select(vec![1usize, 2, 50]),
        prop::sample::select(vec![3usize, 1000]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(backends, held, pipeline, promote, cut)| Wish {
            backends,
            held,
            pipeline,
            promote,
            cut,
            ..Wish::default()
        })
}

/// Cases of each seed.
const CASES: u32 = 100;
/// Seeds of an ordinary run.
const SEEDS: u64 = 32;

/// The same cases in every run: what a change breaks is the change's doing. `PGWEIR_SEEDS=1000..1500` looks elsewhere.
#[expect(clippy::disallowed_methods, reason = "a choice of whoever runs the test")]
fn seeds() -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var("PGWEIR_SEEDS") else { return 0..SEEDS };
    let (from, until) = wanted.split_once("..").expect("a range of seeds");
    from.parse().expect("the first seed")..until.parse().expect("the seed after the last")
}

#[test]
fn clients_read_what_they_would_have_read_alone() {
    for seed in seeds() {
        let mut runner = TestRunner::new(ProptestConfig {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 5_000,
            rng_seed: RngSeed::Fixed(seed),
            ..ProptestConfig::default()
        });
        let cases = (prop::collection::vec(script(), 1..=3), wish(), prop::collection::vec(any::<u16>(), 1..200));
        let outcome = runner.run(&cases, |(scripts, wish, schedule)| {
            let alone: Vec<_> = scripts.iter().map(direct).collect();
            let mut world = World::new(&scripts, wish);
            let mut choices = schedule.iter().cycle();
            world.run(|_| choices.next().copied().unwrap_or_default().into());
            world.check(&alone);
            Ok(())
        });
        if let Err(failed) = outcome {
            panic!("seed {seed}: {failed}");
        }
    }
}
