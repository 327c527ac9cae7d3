// E-mail and SMS by Brevo's SDK for Node.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { BrevoClient } from "@getbrevo/brevo";

const baseUrl = process.argv[2];
const client = new BrevoClient({ apiKey: "xkeysib-sandbox", baseUrl: `${baseUrl}/v3` });
const sender = { email: "no-reply@example.com", name: "Acme" };

const audit = async (path) => (await fetch(`${baseUrl}/sandbox/audit${path}`)).json();

const mail = {
    sender,
    to: [{ email: "ann@example.com", name: "Ann" }],
    subject: "Your renewal",
    htmlContent: "<p>Hello</p>",
    headers: { "X-Mailin-custom": "msg_js_1", "Idempotency-Key": randomUUID() },
};
const single = await client.transactionalEmails.sendTransacEmail(mail);
const [record] = await audit("/message/msg_js_1");
assert.equal(record.address, "ann@example.com");
assert.equal(record.provider_id, single.messageId);

await assert.rejects(client.transactionalEmails.sendTransacEmail(mail), (error) => {
    assert.equal(error.statusCode, 400);
    assert.equal(error.body.code, "duplicate_parameter");
    return true;
});

const batch = await client.transactionalEmails.sendTransacEmail({
    sender,
    subject: "Your renewal",
    htmlContent: "<p>Hello {{params.first}}</p>",
    messageVersions: ["bob", "cho"].map((first) => ({ to: [{ email: `${first}@example.com` }], params: { first } })),
});
assert.equal(new Set(batch.messageIds).size, 2);

const sms = await client.transactionalSms.sendTransacSms({
    sender: "Acme",
    recipient: "+23057000001",
    content: "Hello",
    tag: "msg_js_2",
});
const [text] = await audit("/message/msg_js_2");
assert.equal(text.provider_id, String(sms.messageId));

const { lanes } = await audit("");
const counts = lanes.find((lane) => lane.channel === "email" && lane.account !== "(unknown)");
assert.deepEqual([counts.messages, counts.duplicates, counts.deduplicated], [3, 0, 1]);
console.log("@getbrevo/brevo: single, key reuse, batch, SMS");
