// What the harness tells, and where Redis is.
import { readFileSync } from 'node:fs';

export const config = JSON.parse(readFileSync(process.env.PEER_CONFIG, 'utf8'));
export const QUEUE = 'letters';

export function connection() {
  const { hostname, port, username, password } = new URL(config.redisUrl);
  // As the guide says for workers: commands wait for a lost connection instead of failing.
  return { host: hostname, port: Number(port), username, password, maxRetriesPerRequest: null };
}
