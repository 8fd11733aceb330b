//! What is said to PostgreSQL so that a backend has other settings.
//!
//! Most are set by SET, which PostgreSQL neither plans nor runs as a query: that costs it a fifth of what `set_config`
//! does. SET takes every name for an identifier, which is cut off, and writes lists of names in its own way; what would
//! come out otherwise is left to `set_config`.

use super::Carried;
use super::profile::{AUTHORIZATION, Profile, ROLE, SEARCH_PATH};
use crate::sql;

/// Settings of which any session may set any value that was valid before, whatever becomes of roles, rights and
/// libraries.
const NEVER_REFUSED: [&[u8]; 20] = [
    b"application_name",
    b"bytea_output",
    b"client_encoding",
    b"client_min_messages",
    b"datestyle",
    b"default_transaction_deferrable",
    b"default_transaction_isolation",
    b"default_transaction_read_only",
    b"extra_float_digits",
    b"idle_in_transaction_session_timeout",
    b"idle_session_timeout",
    b"intervalstyle",
    b"jit",
    b"lock_timeout",
    b"search_path",
    b"standard_conforming_strings",
    b"statement_timeout",
    b"timezone",
    b"transaction_timeout",
    b"work_mem",
];

/// Settings whose values are lists of names, which SET quotes (pg_dump's `variable_is_guc_list_quote`).
const LISTS_OF_NAMES: [&[u8]; 6] = [
    b"local_preload_libraries",
    SEARCH_PATH,
    b"session_preload_libraries",
    b"shared_preload_libraries",
    b"temp_tablespaces",
    b"unix_socket_directories",
];

/// With this on, SET quotes every name of a list.
const QUOTE_ALL: &[u8] = b"quote_all_identifiers";

/// How long a setting keeps a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Session,
    Transaction,
}

/// Writes the text that makes a backend carry `to` instead of what it carries: one simple query of one transaction, so that a
/// failure leaves that. Nothing is written where the two are equal. Whether PostgreSQL may refuse it: it is left in a
/// failed transaction block then, in which no statement runs that does not end it.
pub fn write_transition(text: &mut Vec<u8>, carried: &Carried, to: &Profile) -> bool {
    let (from, moot) = (&*carried.profile, carried.moot());
    if from == to && moot.is_empty() {
        return false;
    }
    let differs = |one: &Profile, other: &Profile| {
        let differing = one.iter().filter(|(name, value)| other.get(name) != Some(value));
        differing.map(|(name, _)| name).any(|name| !NEVER_REFUSED.contains(&name))
    };
    let may_be_refused = from.may_be_late() || differs(from, to) || differs(to, from);
    text.extend_from_slice(if may_be_refused { b"BEGIN;" } else { b"" });
    if from.get(AUTHORIZATION).is_some() {
        text.extend_from_slice(b"RESET SESSION AUTHORIZATION;");
    }
    if from.get(ROLE).is_some() {
        text.extend_from_slice(b"RESET ROLE;");
    }
    for (name, _) in from.iter().filter(|(name, _)| !is_identity(name) && to.get(name).is_none()) {
        write_reset(text, name);
    }
    for name in moot.iter().filter(|name| from.get(name).is_none() && to.get(name).is_none()) {
        write_reset(text, name);
    }
    let quotes_all = |profile: &Profile| profile.get(QUOTE_ALL).is_some();
    let lists_are_as_written = !quotes_all(from) && !quotes_all(to);
    let changed = to.iter().filter(|(name, value)| !is_identity(name) && from.get(name) != Some(value));
    let identity = [AUTHORIZATION, ROLE].into_iter().filter_map(|name| Some((name, to.get(name)?)));
    for (name, value) in changed.chain(identity) {
        write_set(text, (name, value), Scope::Session, lists_are_as_written);
        text.push(b';');
    }
    text.extend_from_slice(if may_be_refused { b"COMMIT" } else { b"" });
    may_be_refused
}

fn is_identity(name: &[u8]) -> bool {
    name == AUTHORIZATION || name == ROLE
}

/// Writes a statement that gives a setting exactly this value, as SHOW gives it, by SET if that is possible and
/// `lists_are_as_written`, or it is no list of names.
fn write_set(text: &mut Vec<u8>, (name, value): (&[u8], &[u8]), scope: Scope, lists_are_as_written: bool) {
    let is_list = LISTS_OF_NAMES.contains(&name);
    let is_lost = is_list && !(lists_are_as_written && is_list_of_set(value));
    if !is_identifier(name) || !value.is_ascii() || is_lost {
        // No row passes the condition: rows would have to be kept from the client.
        text.extend_from_slice(b"SELECT WHERE ");
        write_set_config(text, (name, value), scope);
        text.extend_from_slice(b" IS NULL");
        return;
    }
    text.extend_from_slice(match scope {
        Scope::Session => b"SET ",
        Scope::Transaction => b"SET LOCAL ",
    });
    write_identifier(text, name);
    text.push(b'=');
    if is_list {
        for (index, item) in items(value).enumerate() {
            text.extend_from_slice(if index == 0 { b"" } else { b"," });
            write_ascii(text, unquoted(item).unwrap_or(item));
        }
    } else {
        write_ascii(text, value);
    }
}

/// The statement that gives a setting this value for a session whose settings are `profile`. SET takes no snapshot, so
/// that a transaction may still choose its isolation after it; in one transaction alone it needs a block.
#[must_use]
pub fn set(setting: (&[u8], &[u8]), scope: Scope, profile: &Profile) -> Vec<u8> {
    let mut text = Vec::new();
    write_set(&mut text, setting, scope, profile.get(QUOTE_ALL).is_none());
    text
}

/// The same as a query, which is a statement like others outside a block, too.
#[must_use]
pub fn select_set(setting: (&[u8], &[u8]), scope: Scope) -> Vec<u8> {
    let mut text = b"SELECT WHERE ".to_vec();
    write_set_config(&mut text, setting, scope);
    text.extend_from_slice(b" IS NULL");
    text
}

/// A statement that puts a setting back to its default.
fn write_reset(text: &mut Vec<u8>, name: &[u8]) {
    if is_identifier(name) {
        text.extend_from_slice(b"RESET ");
        write_identifier(text, name);
        text.push(b';');
    } else {
        text.extend_from_slice(b"SELECT WHERE pg_catalog.length(pg_catalog.set_config(");
        write_text(text, name);
        text.extend_from_slice(b",NULL,false)) OPERATOR(pg_catalog.<) 0;");
    }
}

/// The text that sets each of these in order; its one row holds the values as SHOW gives them, and NULL for those
/// beyond ASCII, which would come in whatever encoding the settings end with.
#[must_use]
pub fn set_config(settings: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, (name, value)) in settings.iter().enumerate() {
        text.extend_from_slice(if index == 0 { b"SELECT pg_catalog.substring(" } else { b",pg_catalog.substring(" });
        write_set_config(&mut text, (name, value), Scope::Session);
        text.extend_from_slice(b",E'^[\\x01-\\x7f]*$')");
    }
    text
}

fn write_set_config(text: &mut Vec<u8>, (name, value): (&[u8], &[u8]), scope: Scope) {
    text.extend_from_slice(b"pg_catalog.set_config(");
    write_text(text, name);
    text.push(b',');
    write_text(text, value);
    text.extend_from_slice(match scope {
        Scope::Session => b",false)",
        Scope::Transaction => b",true)",
    });
}

/// Whether a name can be written in ASCII where a command has one, and is taken as it is.
fn is_identifier(name: &[u8]) -> bool {
    name.is_ascii() && name.split(|byte| *byte == b'.').all(|part| (1..=sql::LONGEST_NAME).contains(&part.len()))
}

/// Whether a list of names is what SET makes of these names: those have quotes, and only those, that need them.
fn is_list_of_set(value: &[u8]) -> bool {
    items(value).all(|item| {
        let is_plain = |name: &[u8]| {
            let goes_on = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
            name.iter().all(goes_on) && name.first().is_some_and(|first| !first.is_ascii_digit())
        };
        match unquoted(item) {
            // PostgreSQL quotes some keywords, more of them in some versions.
            None => is_plain(item) && !sql::is_keyword(item),
            Some(name) => !is_plain(name) && !name.contains(&b'"'),
        }
    })
}

/// The items of a list, with their quotes.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let list = rest?;
        let end = memchr::memmem::find(list, b", ");
        rest = end.and_then(|end| list.get(end + 2..));
        list.get(..end.unwrap_or(list.len()))
    })
}

/// What stands in quotes, where all of it does.
fn unquoted(item: &[u8]) -> Option<&[u8]> {
    item.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// A name of dot-separated parts, each quoted.
fn write_identifier(text: &mut Vec<u8>, name: &[u8]) {
    for (index, part) in name.split(|byte| *byte == b'.').enumerate() {
        if index > 0 {
            text.push(b'.');
        }
        text.push(b'"');
        for byte in part {
            text.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
        }
        text.push(b'"');
    }
}

/// Writes an expression in ASCII for a text in UTF-8, which means the same whatever `client_encoding`,
/// `standard_conforming_strings` and `backslash_quote` are when it is read. What is no UTF-8 can only come from a
/// database whose encoding is none, or from a startup packet, which PostgreSQL does not convert: it is taken for the
/// database's.
pub fn write_text(text: &mut Vec<u8>, value: &[u8]) {
    if value.is_ascii() {
        write_ascii(text, value);
        return;
    }
    text.extend_from_slice(b"pg_catalog.convert_from(pg_catalog.decode('");
    for byte in value {
        text.extend([byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
    }
    let encoding: &[u8] =
        if std::str::from_utf8(value).is_ok() { b"'UTF8')" } else { b"pg_catalog.getdatabaseencoding())" };
    text.extend_from_slice(b"','hex'),");
    text.extend_from_slice(encoding);
}

fn write_ascii(text: &mut Vec<u8>, value: &[u8]) {
    text.extend_from_slice(b"E'");
    for byte in value {
        match byte {
            b'\'' => text.extend_from_slice(b"''"),
            b'\\' => text.extend_from_slice(b"\\\\"),
            byte => text.push(*byte),
        }
    }
    text.push(b'\'');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::Profiles;

    fn carrying(profile: &Arc<Profile>) -> Carried {
        Carried::new(Arc::clone(profile), Arc::default())
    }

    fn transition(from: &Arc<Profile>, to: &Profile) -> String {
        let mut text = Vec::new();
        write_transition(&mut text, &carrying(from), to);
        String::from_utf8(text).expect("ascii")
    }

    #[test]
    fn what_was_set_to_its_default_is_reset() {
        let profiles = Profiles::new(10);
        let named = profiles.intern([(b"application_name".as_slice(), b"a".as_slice())]);
        let mut carried = carrying(&named);
        carried.note_moot(b"timezone");
        carried.note_moot(b"timezone");
        let mut text = Vec::new();
        assert!(!write_transition(&mut text, &carried, &named));
        assert_eq!(text, b"RESET \"timezone\";");
        carried.turn_into(Arc::clone(&named), &profiles);
        assert!(carried.is(&named));
    }

    #[test]
    fn only_what_differs_is_set_and_what_is_gone_is_reset() {
        let profiles = Profiles::new(10);
        let one = profiles.intern([(&b"a.\"b"[..], &b"1"[..]), (b"x", b"same")]);
        let two = profiles.intern([(&b"x"[..], &b"same"[..]), (b"y", b"it's \\ here")]);
        assert_eq!(transition(&one, &two), r#"BEGIN;RESET "a"."""b";SET "y"=E'it''s \\ here';COMMIT"#);
        assert_eq!(transition(&one, &one), "");
        let equal = Profiles::new(10).intern(one.iter());
        assert_eq!(transition(&one, &equal), "");
    }

    #[test]
    fn only_what_may_be_refused_has_a_block_of_its_own() {
        let profiles = Profiles::new(10);
        let plain = profiles.intern([(&b"application_name"[..], &b"a"[..]), (b"timezone", b"UTC")]);
        let tenant = profiles.intern([(&b"application_name"[..], &b"b"[..]), (b"app.tenant", b"1")]);
        let same_tenant = profiles.with(&tenant, b"application_name", b"c", None);
        let may_be_refused = |from: &Arc<Profile>, to: &Profile| write_transition(&mut Vec::new(), &carrying(from), to);
        assert!(!may_be_refused(&profiles.fresh(), &plain) && !may_be_refused(&plain, &profiles.fresh()));
        assert!(may_be_refused(&plain, &tenant) && may_be_refused(&tenant, &plain));
        assert!(!may_be_refused(&tenant, &same_tenant));
    }

    #[test]
    fn what_is_beyond_ascii_is_written_in_ascii_whatever_encoding_reads_it() {
        let profiles = Profiles::new(10);
        let one = profiles.intern([("ü.x".as_bytes(), &b"1"[..])]);
        let two = profiles.intern([(&b"y"[..], "'\\é".as_bytes()), (b"z", b"\x95\\'")]);
        assert_eq!(
            transition(&one, &two),
            "BEGIN;SELECT WHERE pg_catalog.length(pg_catalog.set_config(\
             pg_catalog.convert_from(pg_catalog.decode('c3bc2e78','hex'),'UTF8'),NULL,false)) OPERATOR(pg_catalog.<) 0;\
             SELECT WHERE pg_catalog.set_config(\
             E'y',pg_catalog.convert_from(pg_catalog.decode('275cc3a9','hex'),'UTF8'),false) IS NULL;\
             SELECT WHERE pg_catalog.set_config(\
             E'z',pg_catalog.convert_from(pg_catalog.decode('955c27','hex'),pg_catalog.getdatabaseencoding()),false) IS NULL;COMMIT"
        );
    }

    #[test]
    fn who_statements_run_as_is_left_first_and_taken_last() {
        let profiles = Profiles::new(10);
        let one = profiles.intern([(&b"role"[..], &b"a"[..]), (b"session_authorization", b"s"), (b"x", b"1")]);
        let two = profiles.intern([(&b"role"[..], &b"a"[..]), (b"x", b"2")]);
        assert_eq!(
            transition(&one, &two),
            "BEGIN;RESET SESSION AUTHORIZATION;RESET ROLE;\
             SET \"x\"=E'2';SET \"role\"=E'a';COMMIT"
        );
        assert!(transition(&two, &one).ends_with("SET \"session_authorization\"=E's';SET \"role\"=E'a';COMMIT"));
        assert_eq!(transition(&two, &profiles.fresh()), "BEGIN;RESET ROLE;RESET \"x\";COMMIT");
    }

    #[test]
    fn what_may_end_in_its_midst_has_a_block_of_its_own() {
        let profiles = Profiles::new(10);
        let with = |value: &str| profiles.intern([(b"statement_timeout".as_slice(), value.as_bytes())]);
        let named = profiles.intern([(b"application_name".as_slice(), b"a".as_slice())]);
        assert!(transition(&with("5s"), &named).starts_with("BEGIN;RESET \"statement_timeout\";"));
        assert!(transition(&with("30s"), &named).starts_with("RESET \"statement_timeout\";"));
    }

    #[test]
    fn a_list_of_names_is_set_as_it_was_spelled() {
        let profiles = Profiles::new(10);
        let set = |value: &[u8]| transition(&profiles.fresh(), &profiles.intern([(b"search_path".as_slice(), value)]));
        assert_eq!(set(b"\"$user\", public"), "SET \"search_path\"=E'$user',E'public';");
        assert_eq!(set(b"tenant_1"), "SET \"search_path\"=E'tenant_1';");
        assert_eq!(set(b"\"Tenant 1\", \"\", \"1\""), "SET \"search_path\"=E'Tenant 1',E'',E'1';");
        let others: [&[u8]; 9] =
            [b"", b"a,b", b"a,  b", b"Tenant", b"\"public\"", b"user", b"data", b"\"a\"\"b\"", b"\"x, y\""];
        for other in others {
            assert!(set(other).starts_with("SELECT WHERE"), "{other:?}");
        }
    }

    #[test]
    fn a_name_that_a_command_would_cut_off_is_no_part_of_one() {
        let profiles = Profiles::new(10);
        let long = [b"a.".as_slice(), &[b'x'; 64]].concat();
        let set = profiles.intern([(long.as_slice(), b"1".as_slice())]);
        assert!(transition(&profiles.fresh(), &set).starts_with("BEGIN;SELECT WHERE pg_catalog.set_config(E'a.xxx"));
        assert!(transition(&set, &profiles.fresh()).starts_with("BEGIN;SELECT WHERE pg_catalog.length("));
    }
}
