import assert from 'node:assert/strict';
import test from 'node:test';

import { PromptSession } from '../../ohif_config/extension/session.js';

const click = (x, positive = true) => ({ point: [x, 2, 3], positive, sop_instance_uid: '1.2.3', frame: 1 });
const term = { label: 'Aorta', category: { value: 'a' }, type: { value: 'b' }, laterality: null, color: [1, 2, 3] };

/** A prompt service that answers when the test says so: `asked` are `{ path, method, body, answer, refuse }`. */
function service() {
  const asked = [];
  const ask = (path, { method, body } = {}) => new Promise((answer, refuse) => asked.push({ path, method, body, answer, refuse }));
  const turn = () => new Promise(resolve => setImmediate(resolve));
  return { asked, session: new PromptSession({ ask }), turn };
}

const result = (session, voxels) => ({ session, engine: 'e', seconds: 0.1, voxels, rows: 2, columns: 2, slices: [] });

test('the whole list is sent each time, in one session', async () => {
  const { asked, session, turn } = service();
  session.engine = 'geodesic';
  session.set([click(1)], '1.2', [40, 400]);
  assert.deepEqual(asked[0].body, { series: '1.2', propagate: false, prompts: [click(1)], engine: 'geodesic', window: [40, 400] });
  asked[0].answer(result('s', 5));
  await turn();
  session.set([click(1), click(9, false)]);
  assert.deepEqual(asked[1].body.prompts, [click(1), click(9, false)]);
  assert.equal(asked[1].body.session, 's');
  assert.equal(session.answer.voxels, 5);
});

test('what was asked already is not asked again', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  session.set([click(1)]);
  asked[0].answer(result('s', 5));
  await turn();
  session.set([click(1)]);
  assert.equal(asked.length, 1);
});

test('while a question is open only the newest list waits', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  session.set([click(1), click(2)]);
  session.set([click(1), click(2), click(3)]);
  assert.equal(asked.length, 1);
  asked[0].answer(result('s', 1));
  await turn();
  assert.equal(asked.length, 2);
  assert.equal(asked[1].body.prompts.length, 3);
  asked[1].answer(result('s', 3));
  await turn();
  assert.deepEqual([session.answer.voxels, session.busy], [3, false]);
});

test('no prompts left: the session is ended there too, and the answer is gone', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  asked[0].answer(result('s', 5));
  await turn();
  session.set([]);
  assert.deepEqual([asked[1].method, asked[1].path, session.answer], ['DELETE', '/prompts/s', null]);
});

test('an answer that comes after everything was cleared is not shown', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  session.set([]);
  asked[0].answer(result('s', 5));
  await turn();
  assert.equal(session.answer, null);
  assert.deepEqual([asked[1].method, asked[1].path], ['DELETE', '/prompts/s']);
});

test('a session that had expired is begun anew with the whole list', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  asked[0].answer(result('old', 5));
  await turn();
  session.set([click(1), click(2)]);
  asked[1].refuse(Object.assign(new Error('gone'), { status: 404 }));
  await turn();
  assert.equal(asked[2].body.session, undefined);
  assert.equal(asked[2].body.prompts.length, 2);
  asked[2].answer(result('new', 7));
  await turn();
  assert.deepEqual([session.id, session.answer.voxels, session.error], ['new', 7, null]);
});

test('an error is told, and the same list may be asked again', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  asked[0].refuse(Object.assign(new Error('no engine'), { status: 503 }));
  await turn();
  assert.equal(session.error.message, 'no engine');
  session.refresh();
  assert.equal(asked.length, 2);
});

test('accepting sends the coded name and leaves nothing behind', async () => {
  const { asked, session, turn } = service();
  session.set([click(1)], '1.2', null);
  asked[0].answer(result('s', 5));
  await turn();
  const stored = session.accept(term);
  assert.deepEqual([asked[1].path, asked[1].body], [
    '/prompts/s/accept',
    { label: 'Aorta', category: { value: 'a' }, type: { value: 'b' }, color: [1, 2, 3] },
  ]);
  asked[1].answer({ series_instance_uid: '2.25.1' });
  assert.deepEqual(await stored, { series_instance_uid: '2.25.1' });
  session.set([]);
  assert.deepEqual([session.id, session.answer, asked.length], [null, null, 2]);
});
