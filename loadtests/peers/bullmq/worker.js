// One worker process: a job is a recipient, who is rendered, posted and recorded.
import { Worker } from 'bullmq';
import pg from 'pg';
import { Pool } from 'undici';

import { config, connection, QUEUE } from './config.js';
import { compile } from './letter.js';

const { apiKey, sender, settings } = config;
const render = compile(config.letter.content.email);
const database = new pg.Pool({ connectionString: config.databaseUrl, max: settings.connections });
const sink = new Pool(config.sinkUrl, { connections: settings.concurrency });
const headers = { 'api-key': apiKey, 'content-type': 'application/json' };

async function post({ id, key, address, variables }) {
  const { subject, html, text } = render(variables);
  const body = JSON.stringify({
    sender,
    to: [{ email: address }],
    subject,
    htmlContent: html,
    textContent: text,
    headers: { 'Idempotency-Key': key, 'X-Mailin-custom': id },
    tags: [id],
  });
  const response = await sink.request({ path: '/v3/smtp/email', method: 'POST', headers, body });
  const answer = await response.body.json();
  if (response.statusCode !== 201) throw new Error(`the sink answered ${response.statusCode}`);
  return answer.messageId.slice(1, -1);
}

async function send({ data }) {
  const providerId = await post(data);
  await database.query({
    name: 'record',
    text: 'insert into peer_results (n, address, provider_id) values ($1, $2, $3)',
    values: [data.n, data.address, providerId],
  });
}

const worker = new Worker(QUEUE, send, {
  connection: connection(),
  concurrency: settings.concurrency,
  removeOnComplete: { count: 0 },
});
worker.on('failed', (job, error) => console.error(`job ${job?.data.n}: ${error.stack}`));
worker.on('error', (error) => console.error(error));

process.on('SIGTERM', async () => {
  await worker.close();
  await Promise.all([database.end(), sink.close()]);
  process.exit(0);
});

await worker.waitUntilReady();
console.log('ready');
