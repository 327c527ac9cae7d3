select c.* from campaigns k cross join chunks_of(k.id) c;
