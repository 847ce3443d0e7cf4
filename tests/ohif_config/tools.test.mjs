import assert from 'node:assert/strict';
import test from 'node:test';

import { BOX, NEGATIVE, POSITIVE } from '../../ohif_config/extension/tool_classes.js';
import { toPrompt } from '../../ohif_config/extension/tools.js';

const image = { sopInstanceUid: '1.2.3', frame: 1 };
const annotationOf = (toolName, points) => ({ metadata: { toolName }, data: { handles: { points } } });

test('a point keeps its kind, its place in the patient and its image', () => {
  const place = { sop_instance_uid: '1.2.3', frame: 1 };
  assert.deepEqual(
    toPrompt(annotationOf(POSITIVE, [[1.5, 2, 3]]), () => image),
    { point: [1.5, 2, 3], positive: true, ...place },
  );
  assert.deepEqual(
    toPrompt(annotationOf(NEGATIVE, [new Float32Array([1, 2, 3])]), () => image),
    { point: [1, 2, 3], positive: false, ...place },
  );
});

test('a box is two opposite corners of the four handles', () => {
  const handles = [
    [0, 0, 5],
    [9, 0, 5],
    [0, 7, 5],
    [9, 7, 5],
  ];
  assert.deepEqual(toPrompt(annotationOf(BOX, handles), () => image).box, [
    [0, 0, 5],
    [9, 7, 5],
  ]);
});
