import assert from 'node:assert/strict';
import test from 'node:test';

import { nameFunction, nameFunctions } from '../../ohif_config/extension/grey.js';

const given = voiLUTFunction => ({ get: (kind, imageId) => (kind === 'voiLutModule' && imageId === 'one' ? { voiLUTFunction } : undefined) });
const named = (voiLUTFunction, metaData) => {
  const image = { imageId: 'one', voiLUTFunction };
  nameFunction(image, metaData);
  return image.voiLUTFunction;
};

test('the first letter of a VOI LUT Function becomes its name', () => {
  assert.equal(named('S', given('SIGMOID')), 'SIGMOID');
  assert.equal(named('L', given('LINEAR_EXACT')), 'LINEAR_EXACT');
  assert.equal(named('L', given(['LINEAR', 'LINEAR'])), 'LINEAR');
});

test('a function that the Standard does not know counts as none', () => {
  assert.equal(named('C', given('CUBIC')), undefined);
  assert.equal(named('S', { get: () => undefined }), undefined);
});

test('an image without a function, or with a whole name, stays as it is', () => {
  assert.equal(named(undefined, given('SIGMOID')), undefined);
  assert.equal(named('LINEAR', given('SIGMOID')), 'LINEAR');
});

test('each image that arrives is mended, until the end', () => {
  const eventTarget = new EventTarget();
  const end = nameFunctions({ eventTarget, metaData: given('SIGMOID'), EVENTS: { IMAGE_LOADED: 'loaded' } });
  const arrive = () => {
    const image = { imageId: 'one', voiLUTFunction: 'S' };
    eventTarget.dispatchEvent(Object.assign(new Event('loaded'), { detail: { image } }));
    return image.voiLUTFunction;
  };
  assert.equal(arrive(), 'SIGMOID');
  end();
  assert.equal(arrive(), 'S');
});
