//! Settings follow their client over shared backends.

use super::frames::*;
use super::schedules::same_as_direct;
use super::script::Script;

fn client(zone: &'static str, frames: &[Vec<u8>]) -> Script {
    Script::patient(frames.to_vec()).startup(vec![("TimeZone", zone), ("application_name", "it's")])
}

fn show() -> [Vec<u8>; 2] {
    [query("show timezone"), query("show application_name")]
}

#[test]
fn clients_with_different_profiles_share_one_backend() {
    let frames = [show().to_vec(), vec![query("set TimeZone=PST")], show().to_vec(), show().to_vec()].concat();
    same_as_direct(&[
        client("CET", &frames),
        client("UTC", &frames),
        client("GMT", &frames),
        Script::patient(frames.clone()),
    ]);
}

#[test]
fn a_setting_that_is_rolled_back_is_gone() {
    let frames = [
        vec![query("begin"), query("set TimeZone=PST"), query("rollback")],
        show().to_vec(),
        vec![query("set TimeZone=PST;boom")],
        show().to_vec(),
        vec![query("begin;set TimeZone=EST"), query("commit")],
        show().to_vec(),
    ];
    same_as_direct(&[client("CET", &frames.concat()), client("UTC", &frames.concat())]);
}

#[test]
fn discard_all_and_reset_return_to_what_the_client_started_with() {
    for text in ["discard all", "reset TimeZone"] {
        let frames =
            [vec![query("set TimeZone=PST"), query(text)], show().to_vec(), vec![query(text)], show().to_vec()];
        same_as_direct(&[client("CET", &frames.concat()), client("UTC", &frames.concat())]);
        let at_once =
            Script::at_once([query("set TimeZone=GMT"), query("discard all"), query("show timezone")].to_vec());
        same_as_direct(&[at_once.startup(vec![("TimeZone", "CET")])]);
    }
    let extended = [
        parse("", "discard all"),
        bind("", ""),
        execute("", 0),
        sync(),
        query("begin"),
        query("show timezone"),
        query("commit"),
    ];
    same_as_direct(&[Script::at_once(extended.to_vec()).startup(vec![("TimeZone", "CET")])]);
}

#[test]
fn a_profile_is_applied_without_disturbing_unnamed_statements() {
    let frames = [
        parse("", "show timezone"),
        sync(),
        bind("", ""),
        execute("", 0),
        sync(),
        bind("", ""),
        execute("", 0),
        sync(),
    ];
    same_as_direct(&[client("CET", &frames), client("UTC", &frames)]);
}
