import assert from 'node:assert/strict';
import test from 'node:test';

import { JobWatch } from '../../ohif_config/extension/jobs.js';

const job = (id, state, more = {}) => ({ id, state, study: '1.2', kind: 'segment', percent: null, ...more });

/** What JobWatch depends on: `jobs` is what the server has; timers run when the test calls them. */
function createEnvironment(...jobs) {
  const environment = { jobs, requests: 0, timers: [], streams: [], failure: null };
  environment.requestJson = async () => {
    environment.requests += 1;
    if (environment.failure) throw environment.failure;
    return { jobs: [...environment.jobs] };
  };
  environment.setTimer = work => environment.timers.push(work);
  environment.clearTimer = () => {};
  environment.EventSource = class extends EventTarget {
    constructor(address) {
      super();
      environment.streams.push(Object.assign(this, { address, closed: false, readyState: 1 }));
    }
    close() {
      this.closed = true;
    }
    send(job) {
      this.dispatchEvent(new MessageEvent('job', { data: JSON.stringify(job) }));
    }
  };
  return environment;
}

function watchJobs(environment) {
  const watch = new JobWatch('1.2', environment);
  const done = [];
  watch.addEventListener('done', event => done.push(event.detail.id));
  return { watch, done };
}

test('a job that was done before the study was opened dispatches nothing', async () => {
  const { watch, done } = watchJobs(createEnvironment(job(1, 'done')));
  await watch.start();
  assert.deepEqual(done, []);
});

test('a job that ends is dispatched once, from the stream or from a poll', async () => {
  const environment = createEnvironment(job(1, 'running'));
  const { watch, done } = watchJobs(environment);
  await watch.start();
  environment.streams[0].send(job(1, 'running', { percent: 40 }));
  assert.equal(watch.list[0].percent, 40);
  environment.streams[0].send(job(1, 'done'));
  environment.jobs = [job(1, 'done')];
  await watch.poll();
  assert.deepEqual(done, [1]);
});

test('a job that began and ended between two polls is dispatched', async () => {
  const environment = createEnvironment();
  const { watch, done } = watchJobs(environment);
  await watch.start();
  environment.jobs = [job(7, 'done')];
  await watch.poll();
  assert.deepEqual(done, [7]);
});

test('a stream is open only while a job is open', async () => {
  const environment = createEnvironment(job(1, 'done'));
  const { watch } = watchJobs(environment);
  await watch.start();
  assert.equal(environment.streams.length, 0);
  environment.jobs = [job(2, 'queued'), job(1, 'done')];
  await watch.poll();
  assert.equal(environment.streams.length, 1);
  environment.streams[0].send(job(2, 'done'));
  assert.ok(environment.streams[0].closed);
});

test('jobs of other studies do not count', async () => {
  const environment = createEnvironment(job(1, 'running'));
  const { watch, done } = watchJobs(environment);
  await watch.start();
  environment.streams[0].send(job(9, 'done', { study: '3.4' }));
  assert.deepEqual([watch.list.length, done], [1, []]);
});

test('without a stream, polling goes on', async () => {
  const environment = createEnvironment(job(1, 'running'));
  const { watch, done } = watchJobs(environment);
  await watch.start();
  Object.assign(environment.streams[0], { readyState: 2 }).dispatchEvent(new Event('error'));
  assert.equal(watch.stream, null);
  environment.jobs = [job(1, 'done')];
  await environment.timers.at(-1)();
  assert.deepEqual(done, [1]);
});

test('a failed request is repeated; after the end of the login none is sent', async () => {
  const environment = createEnvironment();
  const { watch } = watchJobs(environment);
  environment.failure = new Error('no answer');
  await watch.start();
  assert.equal(environment.timers.length, 1);
  environment.failure = Object.assign(new Error('log in'), { status: 401 });
  await watch.poll();
  assert.equal(environment.timers.length, 1);
});
