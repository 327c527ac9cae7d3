-- Only a function: it must still be a statement.
select message_text('0191e5a4-0000-7000-8000-000000000000', 7);
