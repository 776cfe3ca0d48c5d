"""What a server holds, as lines that are equal on two servers of different versions where the content is.

The structure of a schema is in the server's own words, which differ from one major version to another. So of tables,
views, indexes, constraints and the like it says that they are there, of sequences and types all there is to say. Rows
are compared by the digest that `dbtools digest` shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbtools.db.digest import digest
from dbtools.db.revisions import current_revisions
from dbtools.db.sql import quote
from dbtools.db.structure import structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from dbtools.server.private import PrivateServer

DATABASES = "select datname from pg_database where datname <> 'template0' order by datname"
_SCHEMAS = "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1"
# Predefined roles differ from version to version.
_CLUSTER = """
select 'role', rolname, json_build_array(rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
       rolbypassrls, rolconnlimit, rolvaliduntil, shobj_description(oid, 'pg_authid'))::text
from pg_authid where rolname !~ '^pg_'
union all
select 'password', rolname, md5(rolpassword) from pg_authid where rolname !~ '^pg_'
union all
select 'membership', format('%I in %I', m.rolname, r.rolname), a.admin_option::text
from pg_auth_members a join pg_roles r on r.oid = a.roleid join pg_roles m on m.oid = a.member
union all
select 'database', datname, json_build_array(pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate,
       datctype, datistemplate, datconnlimit, shobj_description(oid, 'pg_database'),
       (select array_agg(format('%s %s %s', case grantee when 0 then 'public' else pg_get_userbyid(grantee) end,
                                privilege_type, is_grantable) order by grantee <> 0, pg_get_userbyid(grantee),
                                privilege_type)
        from aclexplode(coalesce(datacl, acldefault('d', datdba)))))::text
from pg_database where datname <> 'template0'
union all
select 'setting', format('of database %I for role %I', coalesce(d.datname, '*'), coalesce(r.rolname, '*')), s.setting
from pg_db_role_setting c left join pg_database d on d.oid = c.setdatabase left join pg_roles r on r.oid = c.setrole,
     unnest(c.setconfig) s(setting)
"""
# What belongs to an extension may be another with another version of it; the right MAINTAIN came with version 17.
_DATABASE = """
with acls(class, id, part, acl) as (
    select 'pg_class'::regclass::oid, oid, 0,
           coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))
    from pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all select 'pg_class'::regclass, attrelid, attnum::int, attacl from pg_attribute
    union all select 'pg_proc'::regclass, oid, 0, coalesce(proacl, acldefault('f', proowner)) from pg_proc
    union all select 'pg_type'::regclass, oid, 0, coalesce(typacl, acldefault('T', typowner))
    from pg_type where typtype in ('b', 'd', 'e', 'r') and typcategory <> 'A'
    union all select 'pg_namespace'::regclass, oid, 0, coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace
    union all select 'pg_largeobject'::regclass, oid, 0, coalesce(lomacl, acldefault('L', lomowner))
    from pg_largeobject_metadata
), found(kind, class, id, part, what) as (
    select 'owner', classid, objid, 0, pg_get_userbyid(refobjid) from pg_shdepend
    where deptype = 'o' and dbid = (select oid from pg_database where datname = current_database())
    union all
    select 'grant', class, id, part, format('%s %s %s', case grantee when 0 then 'public'
                                            else pg_get_userbyid(grantee) end, privilege_type, is_grantable)
    from acls, aclexplode(acl) where privilege_type <> 'MAINTAIN' and (id >= 16384 or id = 'public'::regnamespace)
    union all
    select 'comment', classoid, objoid, objsubid, description from pg_description where objoid >= 16384
    union all
    select 'large object', 'pg_largeobject'::regclass, oid, 0, md5(lo_get(oid)) from pg_largeobject_metadata
)
select kind, i.type || ' ' || i.identity, what from found, pg_identify_object(class, id, part) i
where not exists (select from pg_depend e where (e.classid, e.objid, e.deptype) = (found.class, found.id, 'e'))
union all
select 'extension', extname, extnamespace::regnamespace::text from pg_extension
union all
select 'default privileges', format('for %I in %s: %s', pg_get_userbyid(defaclrole),
       coalesce(nullif(defaclnamespace, 0)::regnamespace::text, '*'), defaclobjtype),
       format('%s %s %s', case grantee when 0 then 'public' else pg_get_userbyid(grantee) end, privilege_type,
              is_grantable)
from pg_default_acl, aclexplode(defaclacl) where privilege_type <> 'MAINTAIN'
"""
# Made anew from other tables, or by an extension's own script.
_DERIVED = """
select c.relname from pg_class c where c.relnamespace = %s::regnamespace and (c.relkind = 'm' or exists (
    select from pg_depend e where (e.classid, e.objid, e.deptype) = ('pg_class'::regclass, c.oid, 'e')))
"""
NOT_MADE = ("password", "extension")
"""Kinds of lines in which two new servers differ."""
Line = tuple[str, str, str]
"""Kind, name and what is said of it."""


@dataclass(frozen=True)
class Inventory:
    """What a server holds."""

    cluster: frozenset[Line]
    """Roles, databases and their settings."""
    databases: dict[str, frozenset[Line]]
    """What is in each database but template0."""
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The number of tables and of rows in each."""

    def is_like(self, other: Inventory) -> bool:
        """Return whether both hold the same but for passwords and extensions: in those two new servers may differ."""
        return self._made() == other._made()

    def _made(self) -> dict[str, set[Line]]:
        """Return what somebody has made, database by database."""
        return {
            name: {line for line in lines if not (line[0] in NOT_MADE or line[1].startswith("extension "))}
            for name, lines in {"": self.cluster, **self.databases}.items()
        }

    def differences(self, other: Inventory) -> list[str]:
        """Return what only one of the two holds, in words, sorted; empty where both hold the same."""
        found = {f"{kind} {name}" for kind, name, _ in self.cluster ^ other.cluster}
        for database in self.databases.keys() | other.databases.keys():
            mine, others = (one.databases.get(database, frozenset()) for one in (self, other))
            found |= {f"{kind} {name} in database {database}" for kind, name, _ in mine ^ others}
        return sorted(found)


def take_inventory(server: PrivateServer) -> Inventory:
    """Return what a server holds. Nobody else may work on it meanwhile."""
    with server.connect() as connection:
        names = [str(name) for (name,) in connection.execute(DATABASES)]
        cluster = frozenset(connection.execute(_CLUSTER).fetchall())
    databases, rows = {}, {}
    for name in names:
        with server.connect(name) as connection:
            lines = [*_lines(connection)]
        databases[name] = frozenset(lines)
        counted = [int(what.partition(" ")[0]) for kind, _, what in lines if kind == "rows of"]
        rows[name] = len(counted), sum(counted)
    return Inventory(cluster, databases, rows)


def _lines(connection: psycopg.Connection) -> Iterator[Line]:
    yield from connection.execute(_DATABASE).fetchall()
    yield from (("revision", revision, "") for revision in current_revisions(connection))
    for (schema,) in connection.execute(_SCHEMAS).fetchall():
        yield "schema", schema, ""
        derived = {name for (name,) in connection.execute(_DERIVED, (quote(schema),))}
        for table in digest(connection, schema).tables:
            if table.name not in derived:
                yield "rows of", f"{schema}.{table.name}", f"{table.rows} {table.md5}"
        with connection.transaction():
            connection.execute(f"set local search_path to pg_catalog, {quote(schema)}")
            for kind, name, definition in structure(connection, schema):
                if not definition.startswith("NOT NULL "):  # a constraint with a name, from version 18 on
                    yield kind, f"{schema}: {name}", definition if kind in ("sequence", "type") else ""
