-- Up Migration
create domain amount as numeric(12, 2) check (value >= 0);
create table accounts (
    id bigint generated always as identity primary key,
    owner text not null,
    balance amount not null default 0
);
insert into accounts (owner, balance) values ('ada', 10), ('grace', 20);
-- Down Migration
drop table accounts;
drop domain amount;
