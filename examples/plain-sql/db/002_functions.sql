-- What the application calls: lend('Emma', 'ada') returns the number of the loan.
create or replace function lend(title text, reader text, on_day date default current_date) returns bigint
begin atomic
  insert into loans (book_id, reader, borrowed_on)
  select books.id, lend.reader, lend.on_day from books where books.title = lend.title
  returning id;
end;

create or replace view available as
select title, year from books
where not exists (select from loans where loans.book_id = books.id and loans.returned_on is null);
