import assert from 'node:assert/strict';
import test from 'node:test';

import { explainBlank } from '../../ohif_config/extension/viewport_messages.js';

test('the first reason that is true is given: no images, no position, an error of the page', () => {
  const image = { Rows: 512, ImagePositionPatient: [0, 0, 0] };
  assert.match(explainBlank({ Modality: 'SR', instances: [{}] }), /^This SR series holds no images/);
  assert.match(explainBlank({ Modality: 'CT', instances: [image, { Rows: 512 }] }, ['x']), /lack Image Position/);
  assert.match(explainBlank({ Modality: 'CT', instances: [image] }, ['decoder: bad stream']), /decoder: bad stream/);
  assert.match(explainBlank({ Modality: 'CT', instances: [image] }), /not been drawn yet\.$/);
});
