"""procrastinate, a job queue: workers that LISTEN, jobs that are fetched by functions with SKIP LOCKED."""

import asyncio
import logging

import procrastinate
from checks import URL, Checks
from procrastinate import exceptions

checks = Checks("procrastinate")
check = checks.check

listening = 0
done = []


class Connector(procrastinate.PsycopgConnector):
    """Tells when a worker has sent its LISTEN; the library has no word for that."""

    async def _loop_notify(self, *args, **kwargs):
        global listening
        listening += 1
        await super()._loop_notify(*args, **kwargs)


# The library warns of applications in the main module: its own command line could not import them.
logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
app = procrastinate.App(connector=Connector(conninfo=URL, min_size=1, max_size=6))
gate = None


@app.task(name="note", queue="notes")
async def note(text):
    done.append(text)


@app.task(name="work in order", queue="ordered")
async def in_order(number):
    done.append(number)


@app.task(name="fails twice", queue="failing", retry=procrastinate.RetryStrategy(max_attempts=5), pass_context=True)
async def fails_twice(context):
    if context.job.attempts < 2:
        raise ValueError("not yet")
    done.append(context.job.attempts)


@app.task(name="wait for the gate", queue="gated")
async def wait_for_gate():
    done.append("waiting")
    await gate.wait()


async def until(condition, what):
    """Waits for something that a worker does."""
    for _ in range(1000):
        if await condition() if asyncio.iscoroutinefunction(condition) else condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: {done}")


class Worker:
    """A worker that runs as long as the block. It polls too seldom to find a job by that: only notifications wake it."""

    def __init__(self, queue, concurrency=2):
        self.options = {"queues": [queue], "concurrency": concurrency, "fetch_job_polling_interval": 3600}

    async def __aenter__(self):
        self.before = listening
        self.task = asyncio.create_task(
            app.run_worker_async(wait=True, install_signal_handlers=False, listen_notify=True, **self.options)
        )
        await until(self.listens, "a worker listens")

    def listens(self):
        if self.task.done():
            self.task.result()
        return listening > self.before

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def statuses(queue):
    rows = await app.connector.execute_query_all_async(
        "SELECT status::text AS status, count(*) AS n FROM procrastinate_jobs WHERE queue_name = %(queue)s GROUP BY 1",
        queue=queue,
    )
    return {row["status"]: row["n"] for row in rows}


@check
async def the_schema_is_applied():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        assert await app.check_connection_async()


@check
async def jobs_that_wait_are_done_by_a_worker():
    done.clear()
    async with app.open_async():
        for n in range(20):
            await note.defer_async(text=f"job {n}")
        await app.run_worker_async(queues=["notes"], wait=False, concurrency=4, install_signal_handlers=False)
        assert sorted(done) == sorted(f"job {n}" for n in range(20)), done
        assert await statuses("notes") == {"succeeded": 20}


@check
async def a_notification_wakes_a_sleeping_worker():
    done.clear()
    async with app.open_async(), Worker("notes"):
        for n in range(5):
            await note.defer_async(text=n)
            await until(lambda: n in done, "the worker heard of its job")


@check
async def two_workers_share_the_jobs():
    done.clear()
    async with app.open_async(), Worker("notes"), Worker("notes"):
        await note.batch_defer_async(*({"text": n} for n in range(40)))
        await until(lambda: len(done) >= 40, "all jobs are done")
        assert sorted(done) == list(range(40)), "no job is done twice"


@check
async def a_job_that_fails_is_tried_again():
    done.clear()
    async with app.open_async():
        await fails_twice.defer_async()
        await app.run_worker_async(queues=["failing"], wait=False, install_signal_handlers=False)
        assert done == [2], done
        assert await statuses("failing") == {"succeeded": 1}


@check
async def locks_keep_order_and_queueing_locks_refuse():
    done.clear()
    async with app.open_async():
        for n in range(6):
            await in_order.configure(lock="one").defer_async(number=n)
        await app.run_worker_async(queues=["ordered"], wait=False, install_signal_handlers=False)
        assert done == list(range(6)), done
        await note.configure(queueing_lock="only one").defer_async(text="x")
        try:
            await note.configure(queueing_lock="only one").defer_async(text="y")
            raise AssertionError("no error")
        except exceptions.AlreadyEnqueued:
            pass


@check
async def a_running_job_is_aborted_by_notification():
    global gate
    gate = asyncio.Event()
    done.clear()
    async with app.open_async(), Worker("gated"):
        job = await wait_for_gate.defer_async()
        await until(lambda: done == ["waiting"], "the job runs")
        assert await app.job_manager.cancel_job_by_id_async(job, abort=True)

        async def is_over():
            return await statuses("gated") == {"aborted": 1}

        await until(is_over, "the job was aborted")


@check
async def many_tasks_defer_at_once():
    async with app.open_async():
        jobs = await asyncio.gather(*(note.defer_async(text=n) for n in range(50)))
        assert len(set(jobs)) == 50


@check
async def everything_is_dropped():
    async with app.open_async():
        tables = "procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs, procrastinate_workers"
        await app.connector.execute_query_async(f"DROP TABLE {tables} CASCADE")


checks.run()
