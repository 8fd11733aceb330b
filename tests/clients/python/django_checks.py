"""Django on psycopg 3: connections, ORM, transactions, server-side cursors, roles, and a whole `migrate`."""

import io
import threading
import urllib.parse

import django
from checks import URL, Checks
from django.conf import settings

checks = Checks("django")
check = checks.check


def database(**options):
    """Django's settings for the database of DATABASE_URL; `options` go to OPTIONS."""
    parts = urllib.parse.urlsplit(URL)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


settings.configure(
    DATABASES={
        "default": database(),
        "binding": database(server_side_binding=True),
        "role": database(assume_role="cashier"),
        "serializable": database(isolation_level=4),
        "vienna": {**database(), "TIME_ZONE": "Europe/Vienna"},
        "pooled": {**database(pool={"min_size": 1, "max_size": 4}), "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False},
    },
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    USE_TZ=True,
    TIME_ZONE="America/New_York",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SECRET_KEY="for checks only",
)
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, connections, models, transaction  # noqa: E402
from django.db.models import Count, F  # noqa: E402
from django.utils import timezone  # noqa: E402


class Item(models.Model):
    name = models.CharField(max_length=50, unique=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    data = models.JSONField(default=dict)
    made = models.DateTimeField(default=timezone.now)
    owner = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)

    class Meta:
        app_label = "shop"
        db_table = "django_items"


def value(alias, query, parameters=None):
    with connections[alias].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


@check
def migrations_run_forwards_and_are_planned_no_more():
    out = io.StringIO()
    call_command("migrate", verbosity=1, stdout=out, interactive=False)
    assert "auth.0012" in out.getvalue() and "OK" in out.getvalue(), out.getvalue()
    again = io.StringIO()
    call_command("migrate", verbosity=1, stdout=again, interactive=False)
    assert "No migrations to apply" in again.getvalue(), again.getvalue()
    call_command("migrate", check_unapplied=True, verbosity=0)


@check
def a_model_is_made_by_the_schema_editor():
    with connection.schema_editor() as editor:
        editor.create_model(Item)
    assert "django_items" in connection.introspection.table_names()


@check
def rows_are_created_read_changed_and_deleted():
    user = User.objects.create_user("ann", "ann@example.com", "secret")
    item = Item.objects.create(name="pear", price="1.50", data={"a": [1, None]}, owner=user)
    item.refresh_from_db()
    assert item.data == {"a": [1, None]} and item.made.tzinfo and str(item.price) == "1.50"
    Item.objects.filter(pk=item.pk).update(price=F("price") * 2)
    assert Item.objects.get(name="pear").price == 3
    found, made = Item.objects.get_or_create(name="pear", defaults={"price": 9})
    assert not made and found.pk == item.pk
    assert Item.objects.bulk_create([Item(name=f"many {n}", price=n) for n in range(500)])[-1].pk
    assert Item.objects.filter(name__startswith="many").count() == 500
    assert Item.objects.values("owner").annotate(n=Count("id")).get(owner=user)["n"] == 1
    deleted, _ = Item.objects.filter(name__startswith="many", price__gte=100).delete()
    assert deleted == 400


@check
def atomic_blocks_nest_as_savepoints():
    with transaction.atomic():
        Item.objects.create(name="kept")
        try:
            with transaction.atomic():
                Item.objects.create(name="lost")
                Item.objects.create(name="kept")
            raise AssertionError("no error")
        except IntegrityError as error:
            assert error.__cause__.sqlstate == "23505"
    assert Item.objects.filter(name__in=["kept", "lost"]).count() == 1
    called = []
    try:
        with transaction.atomic():
            transaction.on_commit(lambda: called.append("never"))
            Item.objects.create(name="undone")
            raise ValueError
    except ValueError:
        pass
    with transaction.atomic():
        transaction.on_commit(lambda: called.append("done"))
    assert called == ["done"] and not Item.objects.filter(name="undone").exists()


@check
def a_failed_transaction_is_told_and_left():
    try:
        with transaction.atomic():
            try:
                value("default", "SELECT 1 / 0")
            except Exception:
                pass
            value("default", "SELECT 1")
        raise AssertionError("no error")
    except transaction.TransactionManagementError:
        raise AssertionError("the cursor's own error is expected")
    except Exception as error:
        assert error.__cause__ is not None and error.__cause__.sqlstate == "25P02", error
    assert value("default", "SELECT 1") == 1


@check
def server_side_cursors_outlive_their_transactions():
    # Outside a transaction Django declares them WITH HOLD.
    names = Item.objects.order_by("id").values_list("name", flat=True).iterator(chunk_size=10)
    first = [next(names) for _ in range(15)]
    Item.objects.create(name="in between")
    rest = list(names)
    assert len(first) + len(rest) == Item.objects.exclude(name="in between").count()
    with transaction.atomic():
        assert sum(1 for _ in Item.objects.iterator(chunk_size=7)) == Item.objects.count()
    assert value("default", "SELECT count(*) FROM pg_cursors WHERE is_holdable") == 0


@check
def rows_are_locked_until_the_transaction_ends():
    held, tried = threading.Event(), threading.Event()
    skipped = []

    def other():
        try:
            held.wait(30)
            with transaction.atomic():
                skipped.append(len(Item.objects.select_for_update(skip_locked=True).filter(name="pear")))
        finally:
            tried.set()
            connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    with transaction.atomic():
        list(Item.objects.select_for_update().filter(name="pear"))
        held.set()
        assert tried.wait(30)
    thread.join()
    assert skipped == [0], skipped


@check
def each_connection_has_its_own_time_zone():
    for _ in range(3):
        assert value("default", "SHOW TimeZone") == "UTC"
        assert value("vienna", "SHOW TimeZone") == "Europe/Vienna"


@check
def each_connection_has_its_own_role_and_isolation():
    for _ in range(3):
        assert value("role", "SELECT current_user::text") == "cashier"
        assert value("default", "SELECT current_user::text") == settings.DATABASES["default"]["USER"]
        with transaction.atomic(using="serializable"):
            assert value("serializable", "SHOW transaction_isolation") == "serializable"
        assert value("default", "SHOW transaction_isolation") == "read committed"
    connections["role"].close()
    assert value("default", "SELECT current_user::text") != "cashier"


@check
def values_are_bound_by_the_server():
    for n in range(10):
        assert value("binding", "SELECT %s::int + 1", [n]) == n + 1
    with transaction.atomic(using="binding"):
        Item.objects.using("binding").create(name="bound", data={"n": 1})
        assert Item.objects.using("binding").filter(data__n=1).count() == 1
    assert Item.objects.filter(name="bound").exists()


@check
def the_drivers_own_pool_works_on_top():
    for n in range(6):
        assert value("pooled", "SELECT %s", [n]) == n
        connections["pooled"].close()
    connections["pooled"].close_pool()


@check
def a_connection_that_went_away_is_replaced():
    # CONN_HEALTH_CHECKS asks once for each request; the request's end is told by hand here.
    connection.ensure_connection()
    connection.connection.close()
    connection.close_if_unusable_or_obsolete()
    assert value("default", "SELECT 1") == 1


@check
def threads_outnumber_backends():
    wrong = []

    def work(number):
        try:
            for n in range(10):
                with transaction.atomic():
                    Item.objects.filter(name="pear").update(price=F("price") + 1)
                if Group.objects.filter(name=f"none {number} {n}").exists():
                    wrong.append((number, n))
        except Exception as error:
            wrong.append(error)
        finally:
            connection.close()

    Item.objects.filter(name="pear").update(price=0)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert Item.objects.get(name="pear").price == 100


@check
def data_is_dumped_flushed_and_loaded():
    dumped = io.StringIO()
    call_command("dumpdata", "auth.user", stdout=dumped)
    assert '"ann"' in dumped.getvalue()
    with connection.schema_editor() as editor:
        editor.delete_model(Item)
    call_command("flush", interactive=False, verbosity=0)
    assert not User.objects.exists()
    assert User.objects.create_user("bob").pk == 1, "TRUNCATE … RESTART IDENTITY"


@check
def migrations_run_backwards():
    call_command("migrate", "sessions", "zero", verbosity=0, interactive=False)
    call_command("migrate", "auth", "zero", verbosity=0, interactive=False)
    assert "auth_user" not in connection.introspection.table_names()
    connections.close_all()


checks.run()
