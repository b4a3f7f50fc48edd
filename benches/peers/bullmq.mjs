// BullMQ under the same load as ours: COUNT tasks, one due each millisecond (steady) or all in one (burst), on a Redis at PORT.
// node bullmq.mjs PORT steady|burst COUNT    prints one line of JSON: lateness of each in ms, from due to its worker.
import { createRequire } from "node:module";
const { Queue, Worker } = createRequire(process.cwd() + "/")("bullmq");

const [port, mode, count] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])];
const connection = { host: "127.0.0.1", port };
const queue = new Queue("bench-" + mode, { connection });
const late = [];
const done = new Promise((resolve) => {
  const worker = new Worker(
    queue.name,
    async (job) => {
      late.push(Date.now() - job.data.due);
      if (late.length === count) resolve(worker);
    },
    { connection, concurrency: 500 },
  );
});
const first = Date.now() + 3_000 + Math.ceil(count / 2);
for (let start = 0; start < count; start += 500) {
  const now = Date.now();
  const part = [];
  for (let at = start; at < Math.min(start + 500, count); at++) {
    const due = mode === "burst" ? first : first + at;
    part.push({ name: "t", data: { due }, opts: { timestamp: now, delay: due - now, removeOnComplete: true } });
  }
  await queue.addBulk(part);
}
const spare = first - Date.now();
const worker = await done;
// A pipe takes 65,536 bytes at once; what it has not taken at the exit is lost.
await new Promise((taken) => process.stdout.write(JSON.stringify({ late, spare }) + "\n", taken));
await worker.close(true);
await queue.close();
process.exit(0);
