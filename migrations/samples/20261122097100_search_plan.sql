-- Only a function: it must still be a statement.
select count(*) from contacts_found('ann:*');
