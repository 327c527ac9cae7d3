-- What runs for every single message keeps its plans, as what runs for every slice of a chunk does: those made for the values of each
-- call were never others, and took as long to make as the call itself.
alter function accept_direct set plan_cache_mode = force_generic_plan;
