select audience_walk(k), (skipped(k, 1)).cursor_contact from campaigns k;
