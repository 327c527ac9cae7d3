select audience_walk(k) from campaigns k;
