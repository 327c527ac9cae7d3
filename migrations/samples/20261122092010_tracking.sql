update campaigns set track_links = true, track_opens = true where kind = 'campaign';
