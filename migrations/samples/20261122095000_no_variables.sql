-- Only a function: it must still be a statement.
select pinned_values('{}', true);
