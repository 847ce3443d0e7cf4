import assert from 'node:assert/strict';
import test from 'node:test';

import { Viewer } from '../../ohif_config/extension/ohif.js';

test('the nearest image is found along the normal of an oblique stack', () => {
  const [s, c] = [Math.sin(0.5), Math.cos(0.5)];
  const plane = k => ({
    rowCosines: [1, 0, 0],
    columnCosines: [0, c, s],
    imagePositionPatient: [0, -s * 4 * k, c * 4 * k],
  });
  const core = { metaData: { get: (_module, id) => plane(Number(id)) } };
  const viewer = Object.create(Viewer.prototype);
  const inPlane = [70, 30 * c - s * 8.9, 30 * s + c * 8.9]; // 8.9 mm along the normal: nearest to slice 2
  assert.equal(viewer.findNearestImage({ imageIds: ['0', '1', '2', '3'] }, inPlane, core), '2');
});

test('an image ID names its instance and its frame, counted from 1', () => {
  const core = { metaData: { get: () => ({ SOPInstanceUID: '1.2.3', SeriesInstanceUID: '1.2' }) } };
  const viewer = Object.create(Viewer.prototype);
  assert.equal(viewer.identifyImage('wadors:/dicom-web/studies/1/series/1.2/instances/1.2.3/frames/7', core).frame, 7);
  assert.equal(viewer.identifyImage('wadors:/x/frames/1', core).sopInstanceUid, '1.2.3');
});
