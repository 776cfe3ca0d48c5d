-- Books, and who has borrowed them.
create table if not exists books (
  id bigint generated always as identity primary key,
  title text not null unique,
  year int not null
);

create table if not exists loans (
  id bigint generated always as identity primary key,
  book_id bigint not null references books (id),
  reader text not null,
  borrowed_on date not null,
  returned_on date check (returned_on >= borrowed_on)
);

create unique index if not exists loans_one_at_a_time on loans (book_id) where returned_on is null;
