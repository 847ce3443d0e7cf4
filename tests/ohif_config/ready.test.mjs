import assert from 'node:assert/strict';
import test from 'node:test';

import { adopt, reason, results, withoutBackground } from '../../ohif_config/extension/ready.js';

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
  assert.deepEqual(uids(results(sets, '1.2')), ['new', 'aorta']);
});

test("other people's segmentations, and those of other series, wait for a click", () => {
  const sets = [
    seg('theirs', 'Liver', '20260101', { instance: { Manufacturer: 'Someone' } }),
    seg('elsewhere', 'Lung', '20260101', { referencedSeriesInstanceUID: '9.9' }),
    { Modality: 'CT', SeriesInstanceUID: '1.2' },
  ];
  assert.deepEqual(results(sets, '1.2'), []);
});

test('results without date or time are shown as well', () => {
  const undated = seg('a', 'x', undefined, { SeriesTime: undefined });
  assert.deepEqual(uids(results([undated], '1.2')), ['a']);
});

test('a derived object finds its source, whichever of the newcomers that is', () => {
  const made = { Modality: 'RTSTRUCT', referencedSeriesInstanceUID: '1.2' };
  const source = { Modality: 'CT', SeriesInstanceUID: '1.2', displaySetInstanceUID: 'd', FrameOfReferenceUID: 'f', isReconstructable: true };
  adopt([{ Modality: 'PT', SeriesInstanceUID: '7.7', displaySetInstanceUID: 'e' }, made, source]);
  assert.deepEqual([made.referencedDisplaySetInstanceUID, made.FrameOfReferenceUID, made.isReconstructable], ['d', 'f', true]);
});

test('a derived object whose source is absent, or that has one, stays as it is', () => {
  const lone = { Modality: 'SEG', referencedSeriesInstanceUID: '1.2' };
  const settled = { Modality: 'SEG', referencedSeriesInstanceUID: '1.2', referencedDisplaySetInstanceUID: 'mine' };
  adopt([lone, settled]);
  assert.deepEqual([lone.referencedDisplaySetInstanceUID, settled.referencedDisplaySetInstanceUID], [undefined, 'mine']);
});

test('the reason is the first that is true: no images, no position, what the page complained of', () => {
  const image = { Rows: 512, ImagePositionPatient: [0, 0, 0] };
  assert.match(reason({ Modality: 'SR', instances: [{}] }), /^This SR series holds no images/);
  assert.match(reason({ Modality: 'CT', instances: [image, { Rows: 512 }] }, ['x']), /lack Image Position/);
  assert.match(reason({ Modality: 'CT', instances: [image] }, ['decoder: bad stream']), /decoder: bad stream/);
  assert.match(reason({ Modality: 'CT', instances: [image] }), /not been drawn yet\.$/);
});

test('the background of a labelmap is no segment, so that colours keep to their segments', () => {
  const numbered = number => ({ SegmentNumber: String(number) });
  const sets = [
    { Modality: 'SEG', instance: { SegmentSequence: [0, 1, 2].map(numbered) } },
    { Modality: 'SEG', instance: { SegmentSequence: numbered(1) } },
    { Modality: 'CT', instance: {} },
  ];
  withoutBackground(sets);
  assert.deepEqual(sets[0].instance.SegmentSequence, [numbered(1), numbered(2)]);
  assert.deepEqual(sets[1].instance.SegmentSequence, numbered(1));
});
