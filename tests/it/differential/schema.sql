-- What both sides of the differential test begin with. Nothing here is ever changed by two sessions in a way that could
-- make one wait for the other.
drop schema if exists public, s_one, s_two cascade;
create schema public;
grant all on schema public to public;
create schema s_one;
create schema s_two;
grant usage on schema s_one, s_two to public;

create table public.here (t text);
create table s_one.here (t text);
create table s_two.here (t text, n int);
insert into public.here values ('public');
insert into s_one.here values ('one');
insert into s_two.here values ('two', 2);
grant select on s_one.here, s_two.here to public;

create table shared (n int, t text);
insert into shared select n, 'row ' || n from generate_series(1, 5) n;
create sequence seq_a;
create sequence seq_b;
create table drawn (id serial, t text);
create table parents (n int primary key);
create table children (n int references parents deferrable initially deferred);
create table secret (t text);
insert into secret values ('for a alone');
create table tenants (tenant text, t text);
insert into tenants values ('1', 'of one'), ('2', 'of two');
alter table tenants enable row level security;
create policy own on tenants using (tenant = current_setting('app.tenant', true));
grant all on shared, here, drawn, parents, children, tenants to public;
grant all on seq_a, seq_b, drawn_id_seq to public;
revoke all on secret from public;
grant select on secret to differ_a;

create function f_set(name text, value text) returns text language plpgsql as
  $$ begin return set_config(name, value, false); end $$;
create function f_set_local(name text, value text) returns text language plpgsql as
  $$ begin return set_config(name, value, true); end $$;
create function f_set_sql(name text, value text) returns text language sql as
  $$ select set_config(name, value, false) $$;
create function f_set_then_fail(name text, value text) returns text language plpgsql as
  $$ begin perform set_config(name, value, false); raise exception 'set % and failed', name; end $$;
create function f_set_and_catch(name text, value text) returns text language plpgsql as
  $$ begin
    begin perform set_config(name, value, false); raise exception 'caught'; exception when others then null; end;
    return current_setting(name, true);
  end $$;
create function f_own_setting() returns text language plpgsql set work_mem = '9MB' as
  $$ begin return current_setting('work_mem'); end $$;
create function f_outer(name text, value text) returns text language plpgsql as
  $$ begin return f_set(name, value); end $$;
create function f_execute(command text) returns void language plpgsql as
  $$ begin execute command; end $$;
create function f_temp(name text) returns void language plpgsql as
  $$ begin execute format('create temp table %I (n int)', name); end $$;
create function f_lock(key bigint) returns boolean language sql as
  $$ select pg_try_advisory_lock(key) $$;
create function f_draw() returns bigint language sql as
  $$ select nextval('seq_a') $$;
create function f_notify(channel text, payload text) returns void language plpgsql as
  $$ begin perform pg_notify(channel, payload); end $$;
create procedure p_commits(name text, value text) language plpgsql as
  $$ begin
    insert into shared values (100, 'by a procedure');
    commit;
    perform set_config(name, value, false);
    delete from shared where n = 100;
  end $$;

create table named (n text);
insert into named values ('app.x');
create table watched (name text, value text);
create function f_watch() returns trigger language plpgsql as
  $$ begin perform set_config(new.name, new.value, false); return null; end $$;
create trigger watch before insert on watched for each row execute function f_watch();
create table with_default (n int, t text default f_set('work_mem', '14MB'));
create view calling as select f_set('work_mem', '15MB') as t;
create table ruled (n int);
create rule r as on insert to ruled do instead select f_set('work_mem', '16MB') as t;
create function f_operator(int, int) returns text language sql as $$ select f_set('work_mem', '17MB') $$;
create operator ### (leftarg = int, rightarg = int, function = f_operator);
create function f_check(n int) returns boolean language sql as $$ select f_set('work_mem', '18MB') is not null $$;
create domain checked as int check (f_check(value));
create view calling_own as select f_set('app.x', '21') as t;
create type cast_from as (n int);
create type cast_to as (n int);
create function f_cast(v cast_from) returns cast_to language sql as
  $$ select case when f_set('app.x', '22') is not null then row(v.n)::cast_to end $$;
create cast (cast_from as cast_to) with function f_cast as assignment;
create table cast_table (v cast_to);
create function f_reads() returns text language sql as $$ select c.t from named, calling as c $$;
create function f_writes(name text) returns void language plpgsql as
  $$ begin execute 'insert into ' || quote_ident(name) || ' values (''work_mem'', ''19MB'')'; end $$;
grant all on named, watched, with_default, calling, calling_own, cast_table, ruled to public;
