import assert from 'node:assert/strict';
import test from 'node:test';

import { PromptSession } from '../../ohif_config/extension/prompt_session.js';

const pointAt = (x, positive = true) => ({ point: [x, 2, 3], positive, sop_instance_uid: '1.2.3', frame: 1 });
const term = { label: 'Aorta', category: { value: 'a' }, type: { value: 'b' }, laterality: null, color: [1, 2, 3] };

/** A prompt service that answers when the test does so: `requests` are `{ path, method, body, answer, refuse }`. */
function createService() {
  const requests = [];
  const requestJson = (path, { method, body } = {}) =>
    new Promise((answer, refuse) => {
      requests.push({ path, method, body, answer, refuse });
    });
  const settle = () => new Promise(resolve => setImmediate(resolve));
  return { requests, session: new PromptSession({ requestJson }), settle };
}

const answerOf = (session, voxels) => ({ session, engine: 'e', seconds: 0.1, voxels, rows: 2, columns: 2, slices: [] });

test('the whole list is sent each time, in one session', async () => {
  const { requests, session, settle } = createService();
  session.engine = 'geodesic';
  session.setPrompts([pointAt(1)], '1.2', [40, 400]);
  assert.deepEqual(requests[0].body, {
    series: '1.2',
    propagate: false,
    prompts: [pointAt(1)],
    engine: 'geodesic',
    window: [40, 400],
  });
  requests[0].answer(answerOf('s', 5));
  await settle();
  session.setPrompts([pointAt(1), pointAt(9, false)]);
  assert.deepEqual(requests[1].body.prompts, [pointAt(1), pointAt(9, false)]);
  assert.equal(requests[1].body.session, 's');
  assert.equal(session.answer.voxels, 5);
});

test('a request that was sent already is not sent again', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  session.setPrompts([pointAt(1)]);
  requests[0].answer(answerOf('s', 5));
  await settle();
  session.setPrompts([pointAt(1)]);
  assert.equal(requests.length, 1);
});

test('while a request is open only the newest list waits', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  session.setPrompts([pointAt(1), pointAt(2)]);
  session.setPrompts([pointAt(1), pointAt(2), pointAt(3)]);
  assert.equal(requests.length, 1);
  requests[0].answer(answerOf('s', 1));
  await settle();
  assert.equal(requests.length, 2);
  assert.equal(requests[1].body.prompts.length, 3);
  requests[1].answer(answerOf('s', 3));
  await settle();
  assert.deepEqual([session.answer.voxels, session.isBusy], [3, false]);
});

test('without prompts the session is ended in the service too, and the answer is gone', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  requests[0].answer(answerOf('s', 5));
  await settle();
  session.setPrompts([]);
  assert.deepEqual([requests[1].method, requests[1].path, session.answer], ['DELETE', '/prompts/s', null]);
});

test('an answer that comes after everything was cleared is not shown', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  session.setPrompts([]);
  requests[0].answer(answerOf('s', 5));
  await settle();
  assert.equal(session.answer, null);
  assert.deepEqual([requests[1].method, requests[1].path], ['DELETE', '/prompts/s']);
});

test('an expired session is replaced by a new one with the whole list', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  requests[0].answer(answerOf('old', 5));
  await settle();
  session.setPrompts([pointAt(1), pointAt(2)]);
  requests[1].refuse(Object.assign(new Error('gone'), { status: 404 }));
  await settle();
  assert.equal(requests[2].body.session, undefined);
  assert.equal(requests[2].body.prompts.length, 2);
  requests[2].answer(answerOf('new', 7));
  await settle();
  assert.deepEqual([session.id, session.answer.voxels, session.error], ['new', 7, null]);
});

test('an error is kept, and the same list may be sent again', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  requests[0].refuse(Object.assign(new Error('no engine'), { status: 503 }));
  await settle();
  assert.equal(session.error.message, 'no engine');
  session.sendIfChanged();
  assert.equal(requests.length, 2);
});

test('accepting sends the coded name and leaves nothing behind', async () => {
  const { requests, session, settle } = createService();
  session.setPrompts([pointAt(1)], '1.2', null);
  requests[0].answer(answerOf('s', 5));
  await settle();
  const stored = session.accept(term);
  assert.deepEqual(
    [requests[1].path, requests[1].body],
    ['/prompts/s/accept', { label: 'Aorta', category: { value: 'a' }, type: { value: 'b' }, color: [1, 2, 3] }],
  );
  requests[1].answer({ series_instance_uid: '2.25.1' });
  assert.deepEqual(await stored, { series_instance_uid: '2.25.1' });
  session.setPrompts([]);
  assert.deepEqual([session.id, session.answer, requests.length], [null, null, 2]);
});
