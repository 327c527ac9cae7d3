-- No table of its own.
select this_tenant();
