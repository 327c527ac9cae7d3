-- Somebody who was invited can be blocked before they have a password. Unblocked they are invited again.
alter table users
    drop constraint users_check,
    add constraint users_password_check check (status = 'blocked' or (status = 'invited') = (password_hash is null));
