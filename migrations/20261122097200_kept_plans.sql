-- What runs for every single message and every slice of a chunk keeps its plans: one made for the values of each call was never
-- another, and took as long to make as the call itself.
alter function accept_direct set plan_cache_mode = force_generic_plan;
alter function commit_intent set plan_cache_mode = force_generic_plan;
