//! Which commands statements are told to be, with their names.

use super::{assert_commands, parsed};
use crate::sql::{Command, Discard, Effects, Kind};

#[test]
fn transactions_are_told_from_each_other() {
    use Command::{
        Begin, Commit, CommitPrepared, PrepareTransaction, Release, Rollback, RollbackPrepared, RollbackTo, Savepoint,
    };
    assert_commands(&[
        ("begin", &[Begin]),
        ("start transaction isolation level serializable read only", &[Begin]),
        ("commit", &[Commit { chain: false }]),
        ("end work", &[Commit { chain: false }]),
        ("commit and chain", &[Commit { chain: true }]),
        ("rollback", &[Rollback { chain: false }]),
        ("abort and chain", &[Rollback { chain: true }]),
        ("savepoint A", &[Savepoint]),
        ("savepoint \"A\"", &[Savepoint]),
        ("release a", &[Release]),
        ("rollback to savepoint a", &[RollbackTo]),
        ("prepare transaction 'x'", &[PrepareTransaction]),
        ("commit prepared 'x'", &[CommitPrepared]),
        ("rollback prepared 'x'", &[RollbackPrepared]),
        ("begin; select 1; savepoint s; commit", &[Begin, Command::Other, Savepoint, Commit { chain: false }]),
    ]);
    for text in ["begin", "commit", "savepoint a", "prepare transaction 'x'"] {
        assert_eq!(parsed(text).traits.effects, Effects::TRANSACTION, "{text}");
        assert_eq!(parsed(text).traits.kind, Kind::Transaction, "{text}");
    }
}

#[test]
fn commands_carry_their_names_and_never_a_value() {
    use Command::{
        AlterDatabaseSet, AlterRole, CreateDatabase, Deallocate, DeclareHold, DropDatabase, DropRole, Execute, Listen,
        MoveDatabase, Notify, Other, Prepare, RenameDatabase, Reset, Set, SetRole, SetSessionAuthorization,
        SetTransaction, Unlisten,
    };
    let set = |name: &str, local| Set { name: name.into(), local };
    assert_commands(&[
        ("listen Channel", &[Listen("channel".into())]),
        ("listen \"Channel\"", &[Listen("Channel".into())]),
        ("unlisten a", &[Unlisten(Some("a".into()))]),
        ("unlisten *", &[Unlisten(None)]),
        ("notify a, 'x'", &[Notify("a".into())]),
        ("prepare P (int) as select $1", &[Prepare("p".into())]),
        ("execute p(1)", &[Execute("p".into())]),
        ("explain execute p", &[Execute("p".into())]),
        ("create table t as execute p", &[Execute("p".into())]),
        ("deallocate p", &[Deallocate(Some("p".into()))]),
        ("deallocate all", &[Deallocate(None)]),
        ("discard all", &[Command::Discard(Discard::All)]),
        ("discard plans", &[Command::Discard(Discard::Plans)]),
        ("discard temporary", &[Command::Discard(Discard::Temporary)]),
        ("discard sequences", &[Command::Discard(Discard::Sequences)]),
        ("set Work_Mem = 5", &[set("work_mem", false)]),
        ("set local app.x = 'y'", &[set("app.x", true)]),
        ("set \"App\".x = 'y'", &[set("app.x", false)]),
        ("set time zone 'UTC'", &[set("timezone", false)]),
        ("set names 'x'", &[set("client_encoding", false)]),
        ("set schema 'x'", &[set("search_path", false)]),
        ("set session characteristics as transaction read only", &[set("session characteristics", false)]),
        ("reset a", &[Reset(Some("a".into()))]),
        ("reset all", &[Reset(None)]),
        ("reset time zone", &[Reset(Some("timezone".into()))]),
        ("set role a", &[SetRole { local: false }]),
        ("set local role a", &[SetRole { local: true }]),
        ("reset role", &[SetRole { local: false }]),
        ("set session authorization a", &[SetSessionAuthorization { local: false }]),
        ("set local session authorization a", &[SetSessionAuthorization { local: true }]),
        ("set transaction read only", &[SetTransaction]),
        ("declare c cursor with hold for select 1", &[DeclareHold]),
        ("declare c cursor for select 1; fetch from c; close c; close all", &[Other, Other, Other, Other]),
        ("drop database if exists D", &[DropDatabase("d".into())]),
        ("create database a", &[CreateDatabase { template: None }]),
        ("create database a template B", &[CreateDatabase { template: Some("b".into()) }]),
        ("create database a with owner o template = \"B\"", &[CreateDatabase { template: Some("B".into()) }]),
        ("create database a template 'b'", &[CreateDatabase { template: Some("".into()) }]),
        ("alter database a rename to b", &[RenameDatabase("a".into())]),
        ("alter database a set tablespace b", &[MoveDatabase("a".into())]),
        ("alter database a owner to b", &[Other]),
        ("alter database a set work_mem = '1'", &[AlterDatabaseSet("a".into())]),
        ("alter database a reset all", &[AlterDatabaseSet("a".into())]),
        ("alter role a set work_mem = '1'", &[AlterRole("a".into())]),
        ("alter user a password 'x'", &[AlterRole("a".into())]),
        ("alter role a rename to b", &[AlterRole("a".into())]),
        ("alter role all set work_mem = '1'", &[AlterRole("".into())]),
        ("drop role a, \"B\"", &[DropRole(["a".into(), "B".into()].into())]),
        ("drop user a", &[DropRole(["a".into()].into())]),
        ("select 1; insert into t values (1)", &[Other, Other]),
        ("", &[]),
        (" ; -- nothing", &[]),
    ]);
    for text in ["set a = 'SECRET'", "set role 'SECRET'", "set a to SECRET_NOT", "create database a template 'SECRET'"]
    {
        assert!(!format!("{:?}", parsed(text).traits).to_lowercase().contains("secret'"), "{text}");
    }
}

#[test]
fn what_gives_names_to_other_types_is_told_from_what_does_not() {
    use Command::{ChangeColumns, ChangeTypes, Other};
    let columns = |names: &[&str]| ChangeColumns(names.iter().map(|name| (*name).into()).collect());
    assert_commands(&[
        ("drop type a", &[ChangeTypes]),
        ("drop domain if exists a cascade", &[ChangeTypes]),
        ("drop extension a", &[ChangeTypes]),
        ("drop schema a cascade", &[ChangeTypes]),
        ("drop schema a", &[Other]),
        ("drop owned by a", &[ChangeTypes]),
        ("drop table a, s.\"B\"", &[columns(&["a", "B"])]),
        ("drop materialized view a", &[columns(&["a"])]),
        ("drop function a()", &[Other]),
        ("alter type a rename to b", &[ChangeTypes]),
        ("alter type a set schema b", &[ChangeTypes]),
        ("alter type a rename attribute b to c", &[ChangeTypes]),
        ("alter type a alter attribute b type int", &[ChangeTypes]),
        ("alter type a add value 'b'", &[Other]),
        ("alter table a rename to b", &[ChangeTypes]),
        ("alter table a rename b to c", &[columns(&["a"])]),
        ("alter table s.a add b int, drop column c", &[columns(&["a"])]),
        ("alter table a alter b type int", &[columns(&["a"])]),
        ("alter table a add b int, alter c set default 1", &[Other]),
        ("alter table a rename constraint b to c", &[Other]),
        ("alter index a rename to b", &[Other]),
        ("alter schema a rename to b", &[ChangeTypes]),
        ("alter extension a update", &[ChangeTypes]),
    ]);
}
