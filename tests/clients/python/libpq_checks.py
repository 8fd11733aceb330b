"""What only libpq decides, in the version that psycopg brings along: TLS, channel binding and versions of the protocol."""

import os

import psycopg
from cancelling import assert_that_a_cancel_stops_a_statement_and_spares_the_session
from checks import URL, Checks

checks = Checks("libpq")
check = checks.check

ROOT = os.environ["TLS_ROOT"]
STRANGER = os.environ["TLS_STRANGER"]


def connect(**options):
    trusting = {"sslmode": "verify-full", "sslrootcert": ROOT, "channel_binding": "require"}
    return psycopg.connect(URL, autocommit=True, **{**trusting, **options})


def refused(**options):
    try:
        connect(**options).close()
    except psycopg.OperationalError as error:
        return str(error)
    raise AssertionError("it was let in")


@check
def the_library_is_one_that_knows_direct_tls_and_protocol_3_2():
    assert psycopg.pq.version() >= 180000, psycopg.pq.version()


@check
def plain_connections_stay_possible():
    with connect(sslmode="disable", channel_binding="disable") as c:
        assert not c.pgconn.ssl_in_use
        assert c.execute("SELECT 1").fetchone() == (1,)


@check
def tls_is_negotiated_or_begun_at_once():
    for negotiation in ("postgres", "direct"):
        with connect(sslnegotiation=negotiation) as c:
            assert c.pgconn.ssl_in_use
            assert c.execute("SELECT repeat('x', 1000000)").fetchone() == ("x" * 1000000,)


@check
def a_login_is_bound_to_the_channel_where_the_client_can():
    for binding in ("require", "prefer", "disable"):
        for negotiation in ("postgres", "direct"):
            with connect(channel_binding=binding, sslnegotiation=negotiation, require_auth="scram-sha-256") as c:
                assert c.execute("SELECT 1").fetchone() == (1,)


@check
def a_wrong_password_is_told_as_postgresql_tells_it():
    for binding in ("require", "disable"):
        assert "password authentication failed for user" in refused(password="wrong", channel_binding=binding)


@check
def a_server_that_a_stranger_vouches_for_is_not_believed():
    assert "certificate verify failed" in refused(sslrootcert=STRANGER)
    assert "does not match host name" in refused(host="localhost", hostaddr="127.0.0.1")


@check
def protocol_3_2_is_spoken_where_it_is_asked_for():
    for versions, spoken in (
        ({}, 30000),
        ({"max_protocol_version": "3.2"}, 30002),
        ({"min_protocol_version": "3.2", "max_protocol_version": "latest"}, 30002),
    ):
        with connect(**versions) as c:
            assert c.pgconn.full_protocol_version == spoken, c.pgconn.full_protocol_version
            assert c.execute("SELECT %s::int + 1", (1,), prepare=True).fetchone() == (2,)


@check
def cancels_hit_by_long_keys_and_short_ones_encrypted_or_not():
    for version in ("3.0", "3.2"):
        for options in ({}, {"sslnegotiation": "direct"}, {"sslmode": "disable", "channel_binding": "disable"}):
            with connect(max_protocol_version=version, **options) as c:
                assert_that_a_cancel_stops_a_statement_and_spares_the_session(c)


@check
def copy_and_pipelines_pass_through_tls():
    with connect(sslnegotiation="direct") as c, c.transaction():
        c.execute("CREATE TEMPORARY TABLE libpq_numbers (n int)")
        with c.cursor().copy("COPY libpq_numbers FROM STDIN") as copy:
            for n in range(50000):
                copy.write_row((n,))
        with c.pipeline():
            cursors = [c.execute("SELECT sum(n) FROM libpq_numbers WHERE n < %s", (bound,)) for bound in range(2, 60)]
        assert [cursor.fetchone()[0] for cursor in cursors] == [bound * (bound - 1) // 2 for bound in range(2, 60)]


checks.run()
