"""The databases and roles that the services keep their state in, on whichever PostgreSQL it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from jobs.errors import ServiceError, SettingError
from jobs.result import Result
from jobs.services import credentials
from jobs.settings import Settings

if TYPE_CHECKING:
    import psycopg


def make(administrator: str, passwords: Mapping[str, str], *, renew: bool = False) -> list[str]:
    """Makes databases, each with a role of its name that owns it, and returns the names of those that were not there.

    The administrator, a URL, need not be a superuser, as on RDS. What exists is left alone, but for passwords to renew.
    """
    import psycopg
    from psycopg import sql

    made = []
    with psycopg.connect(administrator, autocommit=True, connect_timeout=10) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name, password in passwords.items():
            identifier = sql.Identifier(name)
            if name not in roles:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, sql.Literal(password))
                )
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(identifier))
            elif renew:
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(identifier, sql.Literal(password)))
            if name not in databases:
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, identifier))
                connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(identifier))
                if name == "airflow":
                    end_idle_transactions(connection, name)
                made.append(name)
    return made


def end_idle_transactions(connection: psycopg.Connection, database: str) -> None:
    """From now on that database ends a transaction in which its client has said nothing for a minute.

    Workers inherit their scheduler's connection: when it is killed between two statements they keep it open, and with
    it locks on runs that no other scheduler could go on with.
    """
    from psycopg import sql

    connection.execute(
        sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '60s'").format(sql.Identifier(database))
    )


def make_on_server(settings: Settings) -> Result:
    """Makes databases and roles on a server of your own, from `TIDEMILL_DATABASES`; a role that exists gets its password.

    Raises SettingError when the setting is not JSON of URLs with an administrator's among them, and ServiceError when
    the server does not answer or refuses: what was made until then stays, and the next run goes on.
    """
    try:
        urls = {str(name): urlsplit(str(url)) for name, url in json.loads(settings.need("databases")).items()}
        administrator = urls.pop("administrator").geturl()
        passwords = {name: unquote(url.password or "") for name, url in urls.items()}
    except (ValueError, AttributeError, KeyError):
        raise SettingError(
            'TIDEMILL_DATABASES must be JSON, {"administrator": URL, "tidemill": URL, …}; nothing was made'
        ) from None
    if missing := sorted(set(credentials.DATABASES) - {name for name, password in passwords.items() if password}):
        raise SettingError(f"TIDEMILL_DATABASES has no URL with a password for: {', '.join(missing)}; nothing was made")

    import psycopg

    try:
        made = make(administrator, passwords, renew=True)
    except psycopg.Error as error:
        raise ServiceError(f"PostgreSQL did not make the databases: {error}; run `tidemill databases` again") from None
    return Result(line=f"databases made: {', '.join(made) or 'none, all were there'}", facts={"made": made})


def make_own(settings: Settings) -> None:
    """Makes the databases that the settings' own PostgreSQL has not; raises SettingError naming all that are missing.

    They belong to the URL's user; a user who may not make databases finds those that somebody made before.
    """
    import psycopg
    from psycopg import sql

    server = settings.need("postgres_url")
    own = urlsplit(server)
    if not own.path.strip("/"):
        server = own._replace(path="/postgres").geturl()
    place = f"{own.hostname or 'its socket'}:{own.port or 5432}"
    try:
        with psycopg.connect(server, autocommit=True, connect_timeout=10) as connection:
            known = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            missing = [name for name in credentials.DATABASES if name not in known]
            try:
                for name in missing:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                    if name == "airflow":
                        end_idle_transactions(connection, name)
            except psycopg.errors.InsufficientPrivilege:
                raise SettingError(
                    f"the PostgreSQL at {place} has no databases {', '.join(missing)}, and user {own.username!r} may not "
                    "make them; nothing was started. Make them for that user, or name one with CREATEDB in "
                    "TIDEMILL_POSTGRES_URL"
                ) from None
    except psycopg.OperationalError as error:
        raise SettingError(
            f"the PostgreSQL at {place}, which TIDEMILL_POSTGRES_URL names, cannot be reached: "
            f"{str(error).strip().splitlines()[-1]}; nothing else was started"
        ) from None
