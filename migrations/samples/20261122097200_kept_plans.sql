-- Only settings: both functions must still be there, once each.
select 'accept_direct'::regproc, 'commit_intent'::regproc;
