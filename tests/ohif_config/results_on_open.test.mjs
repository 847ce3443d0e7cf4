import assert from 'node:assert/strict';
import test from 'node:test';

import { findNewestResults } from '../../ohif_config/extension/results_on_open.js';

const seg = (uid, description, date, more = {}) => ({
  Modality: 'SEG',
  SOPInstanceUID: uid,
  SeriesDescription: description,
  SeriesDate: date,
  SeriesTime: '120000',
  referencedSeriesInstanceUID: '1.2',
  instance: { Manufacturer: 'minipacs' },
  ...more,
});
const uids = sets => sets.map(set => set.SOPInstanceUID);

test('of each kind of our results the newest is shown', () => {
  const sets = [
    seg('old', 'slicer segmentation', '20260101'),
    seg('new', 'slicer segmentation', '20260301'),
    seg('aorta', 'Aorta (prompts)', '20260201'),
  ];
  assert.deepEqual(uids(findNewestResults(sets, '1.2')), ['new', 'aorta']);
});

test("other people's segmentations, and those of other series, wait for a click", () => {
  const sets = [
    seg('theirs', 'Liver', '20260101', { instance: { Manufacturer: 'Someone' } }),
    seg('elsewhere', 'Lung', '20260101', { referencedSeriesInstanceUID: '9.9' }),
    { Modality: 'CT', SeriesInstanceUID: '1.2' },
  ];
  assert.deepEqual(findNewestResults(sets, '1.2'), []);
});

test('results without date or time are shown as well', () => {
  const undated = seg('a', 'x', undefined, { SeriesTime: undefined });
  assert.deepEqual(uids(findNewestResults([undated], '1.2')), ['a']);
});
