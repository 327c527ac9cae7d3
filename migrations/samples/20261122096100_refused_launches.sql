update campaigns set launch_refused = 'the template is not in use any more', launch_refused_at = now();
