update idempotency_keys set contents = sha256('a,b') where key = (select min(key) from idempotency_keys);
