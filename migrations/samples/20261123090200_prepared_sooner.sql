select prepare_audience(id) from campaigns;
