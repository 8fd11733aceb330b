"""A psycopg connection whose statement another thread cancels."""

import threading

from psycopg import errors


def assert_that_a_cancel_stops_a_statement_and_spares_the_session(connection):
    stopped = threading.Event()

    def cancel_until_it_works():
        # The first one may come before the statement runs.
        while not stopped.wait(0.1):
            connection.cancel_safe()

    canceller = threading.Thread(target=cancel_until_it_works)
    canceller.start()
    try:
        connection.execute("SELECT pg_sleep(30)")
        raise AssertionError("it was not cancelled")
    except errors.QueryCanceled:
        pass
    finally:
        stopped.set()
        canceller.join()
    assert connection.execute("SELECT 1").fetchone() == (1,)
