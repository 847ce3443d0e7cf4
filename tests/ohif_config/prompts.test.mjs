import assert from 'node:assert/strict';
import test from 'node:test';

import { Viewer } from '../../ohif_config/extension/ohif.js';
import { fill } from '../../ohif_config/extension/overlay.js';
import { BOX, NEGATIVE, POSITIVE, promptOf } from '../../ohif_config/extension/tools.js';

const image = { sopInstanceUid: '1.2.3', frame: 1 };
const drawn = (toolName, points) => ({ metadata: { toolName }, data: { handles: { points } } });

test('a point keeps its kind, its place in the patient and its image', () => {
  const place = { sop_instance_uid: '1.2.3', frame: 1 };
  assert.deepEqual(promptOf(drawn(POSITIVE, [[1.5, 2, 3]]), () => image), { point: [1.5, 2, 3], positive: true, ...place });
  assert.deepEqual(promptOf(drawn(NEGATIVE, [new Float32Array([1, 2, 3])]), () => image), { point: [1, 2, 3], positive: false, ...place });
});

test('a box is two opposite corners of the four handles', () => {
  const handles = [[0, 0, 5], [9, 0, 5], [0, 7, 5], [9, 7, 5]];
  assert.deepEqual(promptOf(drawn(BOX, handles), () => image).box, [[0, 0, 5], [9, 7, 5]]);
});

test('runs fill their pixels and nothing else, and take away what was there before', () => {
  const array = new Uint8Array(12).fill(1);
  fill(array, [1, 2, 10, 2]);
  assert.deepEqual([...array], [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
});

test('the nearest image is found along the normal of an oblique stack', () => {
  const [s, c] = [Math.sin(0.5), Math.cos(0.5)];
  const plane = k => ({ rowCosines: [1, 0, 0], columnCosines: [0, c, s], imagePositionPatient: [0, -s * 4 * k, c * 4 * k] });
  const core = { metaData: { get: (kind, id) => plane(Number(id)) } };
  const viewer = Object.create(Viewer.prototype);
  const inPlane = [70, 30 * c - s * 8.9, 30 * s + c * 8.9]; // 8.9 mm along the normal: nearest to slice 2
  assert.equal(viewer.nearestImage({ imageIds: ['0', '1', '2', '3'] }, inPlane, core), '2');
});

test('an image ID names its instance and its frame, counted from 1', () => {
  const core = { metaData: { get: () => ({ SOPInstanceUID: '1.2.3', SeriesInstanceUID: '1.2' }) } };
  const viewer = Object.create(Viewer.prototype);
  assert.equal(viewer.imageOf('wadors:/dicom-web/studies/1/series/1.2/instances/1.2.3/frames/7', core).frame, 7);
  assert.equal(viewer.imageOf('wadors:/x/frames/1', core).sopInstanceUid, '1.2.3');
});
