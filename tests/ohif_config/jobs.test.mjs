import assert from 'node:assert/strict';
import test from 'node:test';

import { JobWatch } from '../../ohif_config/extension/jobs.js';

const job = (id, state, more = {}) => ({ id, state, study: '1.2', kind: 'segment', percent: null, ...more });

/** A world of answers: `jobs` is what the server has; timers go off when the test says so. */
function world(...jobs) {
  const made = { jobs, asked: 0, timers: [], streams: [], fail: null };
  made.ask = async () => {
    made.asked += 1;
    if (made.fail) throw made.fail;
    return { jobs: [...made.jobs] };
  };
  made.later = work => made.timers.push(work);
  made.never = () => {};
  made.EventSource = class extends EventTarget {
    constructor(address) {
      super();
      made.streams.push(Object.assign(this, { address, closed: false, readyState: 1 }));
    }
    close() {
      this.closed = true;
    }
    tell(job) {
      this.dispatchEvent(new MessageEvent('job', { data: JSON.stringify(job) }));
    }
  };
  return made;
}

function watching(made) {
  const watch = new JobWatch('1.2', made);
  const done = [];
  watch.addEventListener('done', event => done.push(event.detail.id));
  return { watch, done };
}

test('what was done before the study was opened is no news', async () => {
  const { watch, done } = watching(world(job(1, 'done')));
  await watch.start();
  assert.deepEqual(done, []);
});

test('a job that ends is told once, whoever tells it', async () => {
  const made = world(job(1, 'running'));
  const { watch, done } = watching(made);
  await watch.start();
  made.streams[0].tell(job(1, 'running', { percent: 40 }));
  assert.equal(watch.list[0].percent, 40);
  made.streams[0].tell(job(1, 'done'));
  made.jobs = [job(1, 'done')];
  await watch.look();
  assert.deepEqual(done, [1]);
});

test('a job that began and ended between two questions is told', async () => {
  const made = world();
  const { watch, done } = watching(made);
  await watch.start();
  made.jobs = [job(7, 'done')];
  await watch.look();
  assert.deepEqual(done, [7]);
});

test('the server is listened to only while something is open', async () => {
  const made = world(job(1, 'done'));
  const { watch } = watching(made);
  await watch.start();
  assert.equal(made.streams.length, 0);
  made.jobs = [job(2, 'queued'), job(1, 'done')];
  await watch.look();
  assert.equal(made.streams.length, 1);
  made.streams[0].tell(job(2, 'done'));
  assert.ok(made.streams[0].closed);
});

test('jobs of other studies do not count', async () => {
  const made = world(job(1, 'running'));
  const { watch, done } = watching(made);
  await watch.start();
  made.streams[0].tell(job(9, 'done', { study: '3.4' }));
  assert.deepEqual([watch.list.length, done], [1, []]);
});

test('where no place is left to listen, asking goes on', async () => {
  const made = world(job(1, 'running'));
  const { watch, done } = watching(made);
  await watch.start();
  Object.assign(made.streams[0], { readyState: 2 }).dispatchEvent(new Event('error'));
  assert.equal(watch.listening, null);
  made.jobs = [job(1, 'done')];
  await made.timers.at(-1)();
  assert.deepEqual(done, [1]);
});

test('a server that does not answer for a while is asked again; a session that ended is not', async () => {
  const made = world();
  const { watch } = watching(made);
  made.fail = new Error('no answer');
  await watch.start();
  assert.equal(made.timers.length, 1);
  made.fail = Object.assign(new Error('log in'), { status: 401 });
  await watch.look();
  assert.equal(made.timers.length, 1);
});
