-- Nothing was decided by them.
alter table contact_preferences drop column topics;
