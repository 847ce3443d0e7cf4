import assert from 'node:assert/strict';
import test from 'node:test';

import { linkToSource, removeBackgroundItem } from '../../ohif_config/extension/display_set_fixes.js';

test('a derived object finds its source, whichever of the new display sets that is', () => {
  const derived = { Modality: 'RTSTRUCT', referencedSeriesInstanceUID: '1.2' };
  const source = {
    Modality: 'CT',
    SeriesInstanceUID: '1.2',
    displaySetInstanceUID: 'd',
    FrameOfReferenceUID: 'f',
    isReconstructable: true,
  };
  linkToSource([{ Modality: 'PT', SeriesInstanceUID: '7.7', displaySetInstanceUID: 'e' }, derived, source]);
  assert.deepEqual(
    [derived.referencedDisplaySetInstanceUID, derived.FrameOfReferenceUID, derived.isReconstructable],
    ['d', 'f', true],
  );
});

test('a derived object whose source is absent, or that has one, stays as it is', () => {
  const lone = { Modality: 'SEG', referencedSeriesInstanceUID: '1.2' };
  const settled = { Modality: 'SEG', referencedSeriesInstanceUID: '1.2', referencedDisplaySetInstanceUID: 'mine' };
  linkToSource([lone, settled]);
  assert.deepEqual(
    [lone.referencedDisplaySetInstanceUID, settled.referencedDisplaySetInstanceUID],
    [undefined, 'mine'],
  );
});

test('the background of a labelmap is no segment, so that colors keep to their segments', () => {
  const numbered = number => ({ SegmentNumber: String(number) });
  const sets = [
    { Modality: 'SEG', instance: { SegmentSequence: [0, 1, 2].map(numbered) } },
    { Modality: 'SEG', instance: { SegmentSequence: numbered(1) } },
    { Modality: 'CT', instance: {} },
  ];
  removeBackgroundItem(sets);
  assert.deepEqual(sets[0].instance.SegmentSequence, [numbered(1), numbered(2)]);
  assert.deepEqual(sets[1].instance.SegmentSequence, numbered(1));
});
