-- The books of books.csv, and one that is out.
\copy books (title, year) from 'books.csv' with (format csv, header)
select lend('Emma', 'ada', date '2026-11-02') \gset
