import assert from 'node:assert/strict';
import test from 'node:test';

import { writeRuns } from '../../ohif_config/extension/overlay.js';

test('runs fill their pixels, and all other pixels are cleared', () => {
  const array = new Uint8Array(12).fill(1);
  writeRuns(array, [1, 2, 10, 2]);
  assert.deepEqual([...array], [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
});
