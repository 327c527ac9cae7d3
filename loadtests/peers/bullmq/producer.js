// Enqueues everybody with addBulk, in chunks, once a line comes on standard input; then waits for its end.
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

import { Queue } from 'bullmq';

import { config, connection, QUEUE } from './config.js';

const queue = new Queue(QUEUE, { connection: connection() });
const opts = { attempts: 3, removeOnComplete: true };

async function enqueue(jobs) {
  await queue.addBulk(jobs.map((data) => ({ name: 'letter', data, opts })));
}

await queue.waitUntilReady();
process.on('SIGTERM', () => process.exit(0));
console.log('ready');
await once(process.stdin, 'data');

let jobs = [];
for await (const line of createInterface({ input: createReadStream(config.people) })) {
  jobs.push(JSON.parse(line));
  if (jobs.length === config.settings.bulk) {
    await enqueue(jobs);
    jobs = [];
  }
}
if (jobs.length > 0) await enqueue(jobs);
console.log('done');
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
