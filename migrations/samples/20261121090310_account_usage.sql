update account_pace set used = '{"windows": {}}', used_at = now();
