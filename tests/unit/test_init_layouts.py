"""What is found in a project: a layout of files each, and the whole table that is made from it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from dbtools.init import write
from dbtools.init.survey import survey
from dbtools.init.table import text
from tests.support.layouts import lay_out, package

INI = "[alembic]\nscript_location = alembic\n"
HERE = "[alembic]\nscript_location = %(here)s/migrations\n"
ENV = "from app import models\n"
FLASK_ENV = "from flask import current_app\n"
RUNS = "def main():\n    pass\n\n\nif __name__ == '__main__':\n    main()\n"
MANAGE = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\nfrom django.core.management import main\n"
TABLE = "create table items (id int);\n"
ROWS = "insert into items values (1);\n"
DRIZZLE = "export default defineConfig({ out: './drizzle', dbCredentials: { url: process.env.DATABASE_URL } })"
PRISMA = 'datasource db { provider = "postgresql"\n url = env("DATABASE_URL") }'
DB_ENV = "DB_HOST=db\nDB_PORT=5432\nDB_USER=me\nDB_PASSWORD=quite-secret\nDB_NAME=shop\n"
MAPPED = {
    "DB_HOST": "{host}",
    "DB_PORT": "{port}",
    "DB_USER": "{user}",
    "DB_PASSWORD": "{password}",
    "DB_NAME": "{dbname}",
}
FLYWAY = {
    "FLYWAY_URL": "jdbc:postgresql://{host}:{port}/{dbname}",
    "FLYWAY_USER": "{user}",
    "FLYWAY_PASSWORD": "{password}",
}

PYTHON: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "alembic at the root, a module that seeds": (
        {"alembic.ini": INI, "alembic/env.py": ENV, "app/__init__.py": "", "app/initial_data.py": RUNS},
        {"migrate": "alembic", "seed": ["python", "-m", "app.initial_data"]},
    ),
    "alembic in pyproject, uv": (
        {"pyproject.toml": '[project]\nname = "x"\n\n[tool.alembic]\nscript_location = "db"\n', "uv.lock": ""},
        {"migrate": "alembic"},
    ),
    "poetry, a src layout": (
        {
            "pyproject.toml": '[tool.poetry]\nname = "shop"\n',
            "poetry.lock": "",
            "alembic.ini": HERE,
            "migrations/env.py": ENV,
            "src/shop/__init__.py": "",
            "src/shop/seed.py": RUNS,
        },
        {
            "migrate": "alembic",
            "seed": {"command": ["python", "-m", "shop.seed"], "env": {"PYTHONPATH": "src"}},
        },
    ),
    "alembic in backend": (
        {
            "backend/alembic.ini": INI,
            "backend/alembic/env.py": ENV,
            "backend/scripts/seed_demo.py": RUNS,
            "frontend/package.json": package(),
        },
        {
            "migrate": {"alembic": "alembic.ini", "cwd": "backend"},
            "seed": {"command": ["python", "scripts/seed_demo.py"], "cwd": "backend"},
        },
    ),
    "an ini in a folder, whose paths count from the root": (
        {"db/alembic.ini": "[alembic]\nscript_location = db/migrations\n", "db/migrations/env.py": ENV},
        {"migrate": {"alembic": "db/alembic.ini"}},
    ),
    "an ini inside of a package": (
        {"src/shop/__init__.py": "", "src/shop/alembic.ini": HERE, "src/shop/migrations/env.py": ENV},
        {"migrate": {"alembic": "shop/alembic.ini", "cwd": "src"}},
    ),
    "two folders of alembic with a ledger each": (
        {
            "a/alembic.ini": HERE,
            "a/migrations/env.py": "context.configure(version_table='a_version')",
            "b/alembic.ini": HERE,
            "b/migrations/env.py": "context.configure(version_table='b_version')",
        },
        {"migrate": [{"alembic": "alembic.ini", "cwd": "a"}, {"alembic": "alembic.ini", "cwd": "b"}]},
    ),
    "two folders of alembic that would share a ledger": (
        {"services/a/alembic.ini": HERE, "services/b/alembic.ini": HERE},
        {"migrate": {"alembic": "alembic.ini", "cwd": "services/a"}},
    ),
    "an ini with sections of other names": (
        {
            "alembic.ini": "[dev]\nscript_location = m\nsqlalchemy.url = x\n[prod]\nscript_location = m\n",
            "m/env.py": ENV,
        },
        {"migrate": ["alembic", "-n", "dev", "upgrade", "heads"]},
    ),
    "an ini with more sections than its own": (
        {"alembic.ini": f"{INI}\n[other]\nscript_location = other\n", "alembic/env.py": ENV},
        {"migrate": "alembic"},
    ),
    "an empty ini": ({"alembic.ini": ""}, {"migrate": "alembic"}),
    "a function that takes a connection": (
        {"alembic.ini": INI, "app/__init__.py": "", "app/seed.py": "async def run(conn, *, quiet=True):\n    pass\n"},
        {"migrate": "alembic", "seed": {"call": "app.seed:run"}},
    ),
    "a function that cannot be called, and SQL": (
        {"alembic.ini": INI, "app/seed.py": "def seed(session):\n    pass\n", "db/seed.sql": ROWS},
        {"migrate": "alembic", "seed": {"sql": "db/seed.sql"}},
    ),
    "a revision that seeds is no seed": (
        {"alembic.ini": INI, "alembic/versions/0002_seed.py": "def upgrade():\n    pass\n"},
        {"migrate": "alembic"},
    ),
    "the environment beside the ini": (
        {"api/alembic.ini": INI, "api/.venv/bin/python": "", "api/.venv/pyvenv.cfg": ""},
        {"migrate": {"alembic": "alembic.ini", "cwd": "api"}, "python": "api/.venv/bin/python"},
    ),
    "flask, found by itself": (
        {"app.py": "app = Flask(__name__)", "migrations/alembic.ini": "[alembic]\n", "migrations/env.py": FLASK_ENV},
        {"migrate": ["flask", "db", "upgrade"]},
    ),
    "flask, named by .flaskenv": (
        {
            ".flaskenv": "FLASK_APP=shop:create_app",
            "shop/__init__.py": "",
            "migrations/alembic.ini": "",
            "migrations/env.py": FLASK_ENV,
        },
        {"migrate": ["flask", "db", "upgrade"]},
    ),
    "flask, a package with a command that seeds": (
        {
            "shop/__init__.py": "def create_app():\n    pass\n",
            "shop/cli.py": "@app.cli.command('seed-demo')\ndef seed_demo():\n    pass\n",
            "migrations/alembic.ini": "",
            "migrations/env.py": FLASK_ENV,
        },
        {
            "migrate": ["flask", "--app", "shop", "db", "upgrade"],
            "seed": ["flask", "--app", "shop", "seed-demo"],
        },
    ),
    "flask in a folder, named by its Dockerfile": (
        {
            "api/Dockerfile": "ENV FLASK_APP=wsgi_prod.py",
            "api/migrations/alembic.ini": "",
            "api/migrations/env.py": FLASK_ENV,
        },
        {"migrate": {"command": ["flask", "--app", "wsgi_prod.py", "db", "upgrade"], "cwd": "api"}},
    ),
    "flask with a manage.py of its own": (
        {
            "manage.py": "manager.add_command('db', MigrateCommand)",
            "migrations/alembic.ini": "",
            "migrations/env.py": FLASK_ENV,
        },
        {"migrate": ["python", "manage.py", "db", "upgrade"]},
    ),
    "flask inside of its package": (
        {
            "zoo/__init__.py": "",
            "zoo/app/__init__.py": "app = Flask(__name__)",
            "zoo/migrations/alembic.ini": "",
            "zoo/migrations/env.py": FLASK_ENV,
        },
        {"migrate": ["flask", "--app", "zoo.app", "db", "upgrade", "--directory", "zoo/migrations"]},
    ),
    "django with a fixture": (
        {"manage.py": MANAGE, "shop/apps.py": "", "shop/fixtures/demo.json": "[]"},
        {
            "migrate": ["python", "manage.py", "migrate", "--noinput"],
            "seed": ["python", "manage.py", "loaddata", "demo"],
        },
    ),
    "django in a folder with a command that seeds": (
        {
            "server/manage.py": MANAGE,
            "server/shop/models.py": "",
            "server/shop/management/commands/seed_shop.py": "class Command:\n    pass\n",
            "server/shop/fixtures/demo.json": "[]",
        },
        {
            "migrate": {"command": ["python", "manage.py", "migrate", "--noinput"], "cwd": "server"},
            "seed": {"command": ["python", "manage.py", "seed_shop"], "cwd": "server"},
        },
    ),
    "django with fixtures in a folder of their own": (
        {
            "manage.py": MANAGE,
            "fixtures/initial_users.json": "[]",
            "fixtures/initial_zoo.yaml": "",
            "fixtures/other.json": "",
        },
        {
            "migrate": ["python", "manage.py", "migrate", "--noinput"],
            "seed": ["python", "manage.py", "loaddata", "fixtures/initial_users.json", "fixtures/initial_zoo.yaml"],
        },
    ),
    "django with fixtures of which none is likelier": (
        {"manage.py": MANAGE, "a/apps.py": "", "a/fixtures/one.json": "[]", "a/fixtures/two.json": "[]"},
        {"migrate": ["python", "manage.py", "migrate", "--noinput"]},
    ),
    "aerich": ({"pyproject.toml": "[tool.aerich]\n"}, {"migrate": ["aerich", "upgrade"]}),
}
NODE: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "drizzle by its script": (
        {
            "package.json": package({"db:migrate": "drizzle-kit migrate", "db:seed": "tsx src/seed.ts"}, "drizzle-kit"),
            "drizzle.config.ts": DRIZZLE,
            "drizzle/0000_a.sql": TABLE,
        },
        {"migrate": ["npm", "run", "db:migrate"], "seed": ["npm", "run", "db:seed"]},
    ),
    "drizzle without a script, pnpm": (
        {
            "package.json": package({"db:generate": "drizzle-kit generate"}, "drizzle-kit", "tsx"),
            "pnpm-lock.yaml": "",
            "drizzle.config.ts": DRIZZLE,
            "drizzle/0000_a.sql": TABLE,
            "src/seed.ts": "",
        },
        {"migrate": ["pnpm", "exec", "drizzle-kit", "migrate"], "seed": ["pnpm", "exec", "tsx", "src/seed.ts"]},
    ),
    "drizzle without migrations": (
        {"package.json": package({}, "drizzle-kit"), "drizzle.config.ts": DRIZZLE},
        {"migrate": ["npx", "drizzle-kit", "push", "--force"]},
    ),
    "drizzle with variables of its own": (
        {
            "package.json": package({}, "drizzle-kit"),
            "drizzle.config.ts": "out: './drizzle', host: process.env.DB_HOST, database: process.env.DB_NAME",
            "drizzle/0000_a.sql": TABLE,
            ".env": f"{DB_ENV}REDIS_HOST=r\nTEST_DB_NAME=t\nAPP_NAME=x\n",
        },
        {"migrate": ["npx", "drizzle-kit", "migrate"], "env": MAPPED},
    ),
    "prisma with a script that asks, and a seed": (
        {
            "package.json": package({"migrate": "prisma migrate dev"}, "prisma", prisma={"seed": "tsx prisma/seed.ts"}),
            "prisma/schema.prisma": PRISMA,
            "prisma/migrations/1_a/migration.sql": TABLE,
            ".env": "DATABASE_URL=postgresql://ann:quite-secret@db/shop\n",
        },
        {"migrate": ["npx", "prisma", "migrate", "deploy"], "seed": ["npx", "prisma", "db", "seed"]},
    ),
    "prisma with a configuration file and other variables, yarn": (
        {
            "package.json": package({}, "prisma"),
            "yarn.lock": "",
            "prisma.config.ts": "export default { migrations: { seed: 'tsx prisma/seed.ts' } }",
            "prisma/schema.prisma": PRISMA.replace("DATABASE_URL", "POSTGRES_PRISMA_URL"),
            "prisma/migrations/1_a/migration.sql": TABLE,
        },
        {
            "migrate": ["yarn", "run", "prisma", "migrate", "deploy"],
            "seed": ["yarn", "run", "prisma", "db", "seed"],
            "env": {"POSTGRES_PRISMA_URL": "{url}"},
        },
    ),
    "prisma without migrations in a package of a monorepo": (
        {
            "package.json": package({}, "turbo", packageManager="pnpm@9.1.0"),
            "packages/db/package.json": package({"seed": "tsx seed.ts"}, "prisma"),
            "packages/db/prisma/schema.prisma": PRISMA,
        },
        {
            "migrate": {"command": ["pnpm", "exec", "prisma", "db", "push"], "cwd": "packages/db"},
            "seed": {"command": ["pnpm", "run", "seed"], "cwd": "packages/db"},
        },
    ),
    "knex with its seeds": (
        {
            "package.json": package({"rollback": "knex migrate:rollback"}, "knex", "pg"),
            "knexfile.js": "connection: process.env.DATABASE_URL",
            "migrations/1_a.js": "",
            "seeds/a.js": "",
        },
        {"migrate": ["npx", "knex", "migrate:latest"], "seed": ["npx", "knex", "seed:run"]},
    ),
    "knex in apps/api, its file elsewhere": (
        {
            "package.json": package({}),
            "package-lock.json": "{}",
            "apps/api/package.json": package({}, "knex"),
            "apps/api/src/db/knexfile.ts": "connection: process.env.PG_CONNECTION_STRING",
        },
        {
            "migrate": {
                "command": ["npx", "knex", "migrate:latest", "--knexfile", "src/db/knexfile.ts"],
                "cwd": "apps/api",
            },
            "env": {"PG_CONNECTION_STRING": "{url}"},
        },
    ),
    "typeorm by its data source": (
        {
            "package.json": package({"migration:generate": "typeorm migration:generate"}, "typeorm"),
            "src/data-source.ts": "new DataSource({ type: 'postgres', url: process.env.DATABASE_URL })",
        },
        {"migrate": ["npx", "typeorm-ts-node-commonjs", "migration:run", "-d", "src/data-source.ts"]},
    ),
    "typeorm whose script reads .env over what it is given": (
        {
            "package.json": package(
                {
                    "typeorm": "env-cmd typeorm-ts-node-commonjs",
                    "migration:run": "npm run typeorm -- -d src/database/data-source.ts migration:run",
                    "seed:create": "hygen seeds create",
                    "seed:run:relational": "ts-node ./src/database/seeds/run-seed.ts",
                },
                "typeorm",
            ),
            "src/database/data-source.ts": "type: 'postgres', host: process.env.DATABASE_HOST",
        },
        {
            "migrate": ["npx", "typeorm-ts-node-commonjs", "migration:run", "-d", "src/database/data-source.ts"],
            "seed": ["npm", "run", "seed:run:relational"],
            "env": {"DATABASE_HOST": "{host}"},
        },
    ),
    "typeorm by what a file holds": (
        {
            "package.json": package({}, "typeorm", type="module"),
            "src/config/database.ts": "new DataSource({ type: 'postgres', url: process.env.DATABASE_URL })",
        },
        {"migrate": ["npx", "typeorm-ts-node-esm", "migration:run", "-d", "src/config/database.ts"]},
    ),
    "typeorm by a script of another name": (
        {
            "package.json": package(
                {"typeorm": "typeorm-ts-node-esm", "orm:up": "typeorm-ts-node-esm migration:run -d src/ds.ts"},
                "typeorm",
            ),
        },
        {"migrate": ["npm", "run", "orm:up"]},
    ),
    "node-pg-migrate": (
        {
            "package.json": package({"migrate": "node-pg-migrate"}, "node-pg-migrate"),
            "migrations/1_a.js": "",
            "seed.mjs": "",
        },
        {"migrate": ["npm", "run", "migrate", "up"], "seed": ["node", "seed.mjs"]},
    ),
    "sequelize with settings that read no variable": (
        {
            "package.json": package({"db:migrate": "sequelize db:migrate"}, "sequelize-cli"),
            "config/config.json": '{"development": {"host": "127.0.0.1", "dialect": "postgres"}}',
            "migrations/1-a.js": "",
            "seeders/1-a.js": "",
        },
        {
            "migrate": ["npx", "sequelize-cli", "db:migrate", "--url", "{url}"],
            "seed": ["npx", "sequelize-cli", "db:seed:all", "--url", "{url}"],
        },
    ),
    "sequelize with settings that read variables, bun": (
        {
            "package.json": package({}, "sequelize-cli"),
            "bun.lock": "",
            ".sequelizerc": "",
            "src/config/config.js": "host: process.env.POSTGRES_HOST, database: process.env.POSTGRES_DB",
            "src/migrations/1-a.js": "",
        },
        {
            "migrate": ["bunx", "sequelize-cli", "db:migrate"],
            "env": {"POSTGRES_HOST": "{host}", "POSTGRES_DB": "{dbname}"},
        },
    ),
    "a script of its own, and no tool": (
        {"package.json": package({"migrate": "tsx src/migrate.ts"}, "postgres"), ".env.example": "POSTGRES_URL=\n"},
        {"migrate": ["npm", "run", "migrate"], "env": {"POSTGRES_URL": "{url}"}},
    ),
}
OTHERS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "files of SQL in db, one of them a seed": (
        {"db/001_tables.sql": TABLE, "db/002_more.sql": TABLE, "db/seed.sql": ROWS},
        {"migrate": {"sql": ["db/001_tables.sql", "db/002_more.sql"]}, "seed": {"sql": "db/seed.sql"}},
    ),
    "migrations of SQL, and a folder of seeds": (
        {
            "migrations/0001_a.sql": TABLE,
            "migrations/0002_seed_roles.sql": ROWS,
            "seeds/a.sql": ROWS,
            "seeds/b.sql": ROWS,
        },
        {"migrate": {"sql": "migrations/*.sql"}, "seed": {"sql": "seeds/*.sql"}},
    ),
    "a schema, and what has changed since": (
        {"schema.sql": TABLE, "migrations/01_a.sql": "alter table items add x int;", "migrations/02_b.sql": ROWS},
        {"migrate": [{"sql": "schema.sql"}, {"sql": "migrations/*.sql"}]},
    ),
    "numbers without zeros": (
        {f"migrations/{number}_a.sql": TABLE for number in (1, 2, 10)},
        {"migrate": {"sql": ["migrations/1_a.sql", "migrations/2_a.sql", "migrations/10_a.sql"]}},
    ),
    "ways up and down": (
        {"db/migrations/01_a.up.sql": TABLE, "db/migrations/01_a.down.sql": "drop table items", "db/schema.sql": TABLE},
        {"migrate": {"sql": "db/migrations/*.up.sql"}},
    ),
    "a folder for each migration": (
        {"migrations/01_a/up.sql": TABLE, "migrations/01_a/down.sql": "", "migrations/02_b/up.sql": TABLE},
        {"migrate": {"sql": "migrations/*/up.sql"}},
    ),
    "schema.sql and data.sql at the root": (
        {"schema.sql": TABLE, "data.sql": ROWS, "queries.sql": "select 1"},
        {"migrate": {"sql": "schema.sql"}, "seed": {"sql": "data.sql"}},
    ),
    "init.sql of a container": (
        {"docker/initdb/00_database.sql": "CREATE DATABASE shop;", "docker/initdb/01_init.sql": TABLE, "seed.py": RUNS},
        {"migrate": {"sql": "docker/initdb/01_init.sql"}, "seed": ["python", "seed.py"]},
    ),
    "a file that reads the others": (
        {"db/main.sql": "\\i tables.sql\n", "db/tables.sql": TABLE, "db/functions.sql": "create function f()"},
        {"migrate": {"sql": "main.sql", "cwd": "db"}},
    ),
    "names that tell the order": (
        {"sql/functions.sql": "create function f()", "sql/schema.sql": TABLE, "sql/triggers.sql": "create trigger"},
        {"migrate": {"sql": ["sql/schema.sql", "sql/functions.sql", "sql/triggers.sql"]}},
    ),
    "rails": (
        {"bin/rails": "", "db/migrate/1_a.rb": "", "db/seeds.rb": "", "config/database.yml": "adapter: postgresql"},
        {"migrate": ["bin/rails", "db:migrate"], "seed": ["bin/rails", "db:seed"]},
    ),
    "laravel": (
        {
            "artisan": "",
            ".env.example": "DB_CONNECTION=pgsql\nDB_HOST=x\nDB_DATABASE=y\n",
            "database/seeders/DatabaseSeeder.php": "",
        },
        {
            "migrate": ["php", "artisan", "migrate", "--force"],
            "seed": ["php", "artisan", "db:seed", "--force"],
            "env": {"DB_HOST": "{host}", "DB_DATABASE": "{dbname}"},
        },
    ),
    "golang-migrate": (
        {"go.mod": "require github.com/golang-migrate/migrate/v4 v4", "db/migrations/1_a.up.sql": TABLE},
        {
            "migrate": {
                "command": ["migrate", "-path", "db/migrations", "-database", "{url}", "up"],
                "env": {"PGSSLMODE": "disable"},
            }
        },
    ),
    "goose": (
        {"go.mod": "", "sql/schema/001_a.sql": f"-- +goose Up\n{TABLE}-- +goose Down\ndrop table items;\n"},
        {"migrate": ["goose", "-dir", "sql/schema", "postgres", "{url}", "up"]},
    ),
    "dbmate": (
        {"db/migrations/1_a.sql": f"-- migrate:up\n{TABLE}", "db/schema.sql": TABLE},
        {"migrate": {"command": ["dbmate", "--no-dump-schema", "migrate"], "env": {"PGSSLMODE": "disable"}}},
    ),
    "sqlx": (
        {"Cargo.toml": '[dependencies]\nsqlx = "0.8"\n', "migrations/1_a.sql": TABLE},
        {"migrate": ["sqlx", "migrate", "run"]},
    ),
    "diesel in a folder": (
        {"api/diesel.toml": "", "api/migrations/1_a/up.sql": TABLE},
        {"migrate": {"command": ["diesel", "migration", "run"], "cwd": "api"}},
    ),
    "flyway by its names": (
        {"src/main/resources/db/migration/V1__a.sql": TABLE},
        {
            "migrate": {
                "command": ["flyway", "-locations=filesystem:src/main/resources/db/migration", "migrate"],
                "env": FLYWAY,
            }
        },
    ),
    "flyway by maven": (
        {"pom.xml": "<artifactId>flyway-maven-plugin</artifactId>", "src/main/resources/db/migration/V1__a.sql": TABLE},
        {"migrate": {"command": ["mvn", "flyway:migrate"], "env": FLYWAY}},
    ),
    "ecto that reads a variable": (
        {"mix.exs": "{:ecto_sql, 1}", "config/dev.exs": 'System.get_env("DATABASE_URL")', "priv/repo/seeds.exs": ""},
        {"migrate": ["mix", "ecto.migrate"], "seed": ["mix", "run", "priv/repo/seeds.exs"]},
    ),
    "a Makefile": (
        {"Makefile": "migrate:\n\t./bin/app migrate\n\nseed:\n\tdocker compose exec app seed\n"},
        {"migrate": ["make", "migrate"]},
    ),
}
ALL = {**PYTHON, **NODE, **OTHERS}


@pytest.mark.parametrize("name", ALL)
def test_a_layout_gives_this_table(name: str, tmp_path: Path) -> None:
    files, table = ALL[name]
    root = lay_out(tmp_path, files)
    for path in root.rglob("bin/python"):
        path.chmod(0o755)
    found = survey(root, {})
    assert found.table == table
    planned = write.plan(root, text(found.table, found.guesses))  # dbtools' own reader accepts it
    assert tomllib.loads(planned.after.decode())["tool"]["dbtools"] == table
