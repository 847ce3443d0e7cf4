import assert from 'node:assert/strict';
import test from 'node:test';

import { restoreVoiLutFunction, startVoiLutFunctionFix } from '../../ohif_config/extension/voi_lut_function_fix.js';

/** Metadata of the image 'one' with this VOI LUT Function. */
const metaDataWith = voiLUTFunction => ({
  get: (module, imageId) => (module === 'voiLutModule' && imageId === 'one' ? { voiLUTFunction } : undefined),
});
const restore = (voiLUTFunction, metaData) => {
  const image = { imageId: 'one', voiLUTFunction };
  restoreVoiLutFunction(image, metaData);
  return image.voiLUTFunction;
};

test('the first letter of a VOI LUT Function becomes its name', () => {
  assert.equal(restore('S', metaDataWith('SIGMOID')), 'SIGMOID');
  assert.equal(restore('L', metaDataWith('LINEAR_EXACT')), 'LINEAR_EXACT');
  assert.equal(restore('L', metaDataWith(['LINEAR', 'LINEAR'])), 'LINEAR');
});

test('a function that the Standard does not know counts as none', () => {
  assert.equal(restore('C', metaDataWith('CUBIC')), undefined);
  assert.equal(restore('S', { get: () => undefined }), undefined);
});

test('an image without a function, or with a whole name, stays as it is', () => {
  assert.equal(restore(undefined, metaDataWith('SIGMOID')), undefined);
  assert.equal(restore('LINEAR', metaDataWith('SIGMOID')), 'LINEAR');
});

test('each image is corrected when it is loaded, until the end', () => {
  const eventTarget = new EventTarget();
  const end = startVoiLutFunctionFix({
    eventTarget,
    metaData: metaDataWith('SIGMOID'),
    EVENTS: { IMAGE_LOADED: 'loaded' },
  });
  const load = () => {
    const image = { imageId: 'one', voiLUTFunction: 'S' };
    eventTarget.dispatchEvent(Object.assign(new Event('loaded'), { detail: { image } }));
    return image.voiLUTFunction;
  };
  assert.equal(load(), 'SIGMOID');
  end();
  assert.equal(load(), 'S');
});
