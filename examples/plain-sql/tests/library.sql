-- The library on a seeded database: psql -v ON_ERROR_STOP=1 -f tests/library.sql
-- What it changes is rolled back.
begin;
do $$
begin
  assert (select array_agg(title order by title) from available) @> '{Middlemarch,Nightmare Abbey}', 'these are in';
  assert not exists (select from available where title = 'Emma'), 'Emma is out';
  assert lend('Middlemarch', 'grace') is not null, 'a book that is there can be lent';
  begin
    perform lend('Emma', 'grace');
    raise exception 'Emma was lent twice';
  exception when unique_violation then null;
  end;
end
$$;
rollback;
