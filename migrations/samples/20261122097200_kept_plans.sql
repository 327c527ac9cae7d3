-- Only a setting: the function must still be there, once.
select 'accept_direct'::regproc;
