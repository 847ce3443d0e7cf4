/** A study opens with its results ready; what cannot be drawn says so. */

import { h } from './dom.js';

export const OURS = 'minipacs';
const LOOK_MS = 400;
const SETTLED_MS = 4000;
const LATE_MS = 8000;
const VERY_LATE_MS = 60000;
const DERIVED = new Set(['SEG', 'RTSTRUCT']);

const madeAt = set => [set.SeriesDate, set.SeriesTime, set.SOPInstanceUID].map(part => part ?? '').join(' ');

/** Our segmentations of a series: of each kind (its description) the newest. */
export function results(displaySets, seriesInstanceUid) {
  const newest = new Map();
  for (const set of displaySets) {
    if (set.Modality !== 'SEG' || set.instance?.Manufacturer !== OURS) continue;
    if (set.referencedSeriesInstanceUID !== seriesInstanceUid) continue;
    const before = newest.get(set.SeriesDescription);
    if (!before || madeAt(set) > madeAt(before)) newest.set(set.SeriesDescription, set);
  }
  return [...newest.values()];
}

/** Why a series is not drawn, as a sentence; `errors` are what the page complained of meanwhile. */
export function reason({ Modality, instances = [] }, errors = []) {
  const lacks = name => instances.some(instance => instance[name] === undefined || instance[name] === null);
  const series = `This ${Modality ?? ''} series`.replace('  ', ' ');
  if (!instances.length || lacks('Rows')) return `${series} holds no images.`;
  if (lacks('ImagePositionPatient')) {
    return `${series} cannot be drawn: its images lack Image Position (Patient), so that their place in the patient is unknown.`;
  }
  return errors.length ? `${series} cannot be drawn: ${errors[0]}` : `${series} has not been drawn yet.`;
}

/** Display sets of derived objects whose source came later than they did: OHIF looks at the first newcomer alone. */
export function adopt(displaySets) {
  for (const set of displaySets) {
    if (!DERIVED.has(set.Modality) || set.referencedDisplaySetInstanceUID) continue;
    const source = displaySets.find(one => one.SeriesInstanceUID === set.referencedSeriesInstanceUID && !DERIVED.has(one.Modality));
    if (!source) continue;
    set.referencedDisplaySetInstanceUID = source.displaySetInstanceUID;
    set.isReconstructable = source.isReconstructable;
    set.FrameOfReferenceUID = source.FrameOfReferenceUID;
  }
}

/** OHIF takes a segment's colour by its place in the sequence: an item for the background, number 0, shifts them all. */
export function withoutBackground(displaySets) {
  for (const { Modality, instance } of displaySets) {
    if (Modality !== 'SEG' || !instance?.SegmentSequence) continue;
    const described = [instance.SegmentSequence].flat();
    const segments = described.filter(segment => Number(segment.SegmentNumber) > 0);
    if (segments.length < described.length) instance.SegmentSequence = segments;
  }
}

/** Looks after the viewports while a study is open. */
export class Ready {
  constructor(viewer) {
    this.viewer = viewer;
    this.shown = new Set();
    this.since = new Map();
    this.errors = [];
    this.messages = new Map();
    this.changedAt = performance.now();
  }

  start() {
    const { displaySetService, customizationService } = this.viewer.services;
    const { unsubscribe } = displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, () => {
      this.changedAt = performance.now();
      adopt(displaySetService.getActiveDisplaySets());
      withoutBackground(displaySetService.getActiveDisplaySets());
    });
    const complain = event => {
      const cause = event.detail?.error ?? event.reason ?? event.error;
      if (cause) this.errors.unshift(String(cause.message ?? cause).slice(0, 200));
    };
    const examine = ({ detail: { image } }) => {  // a decoder that gives up answers with an image of no size
      if (!image.rows) this.errors.unshift('the compressed pixels of an image cannot be decoded.');
    };
    const { IMAGE_LOAD_FAILED: failed, IMAGE_LOADED: loaded } = window.cornerstone.EVENTS;
    window.cornerstone.eventTarget.addEventListener(failed, complain);
    window.cornerstone.eventTarget.addEventListener(loaded, examine);
    window.addEventListener('unhandledrejection', complain);
    window.addEventListener('error', complain);
    customizationService.setCustomizations({
      missingReferenceDisplaySetHandler: { $set: () => ({ handled: true }) },
    });
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.end = () => {
      unsubscribe();
      clearInterval(this.timer);
      window.cornerstone.eventTarget.removeEventListener(failed, complain);
      window.cornerstone.eventTarget.removeEventListener(loaded, examine);
      window.removeEventListener('unhandledrejection', complain);
      window.removeEventListener('error', complain);
      [...this.messages.keys()].forEach(where => this.say(where, null));
    };
  }

  stop() {
    this.end?.();
  }

  look() {
    const { viewportGridService, displaySetService } = this.viewer.services;
    const { viewports } = viewportGridService.getState();
    const sets = displaySetService.getActiveDisplaySets();
    const filled = [...viewports.values()].some(viewport => viewport.displaySetInstanceUIDs?.length);
    const settled = sets.length > 0 && performance.now() - this.changedAt > SETTLED_MS;
    this.say('grid', !filled && settled ? `This study holds nothing that the viewer can draw: ${kinds(sets)}.` : null);
    for (const viewportId of viewports.keys()) this.lookAt(viewportId, sets, settled);
    for (const where of this.messages.keys()) if (where !== 'grid' && !viewports.has(where)) this.say(where, null);
  }

  lookAt(viewportId, sets, settled) {
    const shown = this.viewer.services.viewportGridService.getDisplaySetsUIDsForViewport(viewportId) ?? [];
    const [first] = shown.map(uid => sets.find(set => set.displaySetInstanceUID === uid)).filter(Boolean);
    if (!first) return this.say(viewportId, null);
    if (DERIVED.has(first.Modality)) {
      const alone = settled && !first.referencedDisplaySetInstanceUID;
      return this.say(viewportId, alone ? `This ${first.Modality} cannot be drawn: the series it was made on is not in this view. Open the whole study.` : null);
    }
    if (!first.imageIds?.length && !first.images?.length) return this.say(viewportId, null);
    if (this.viewer.isDrawn(viewportId)) {
      this.say(viewportId, null);
      return this.show(viewportId, first, sets);
    }
    const key = `${viewportId} ${first.displaySetInstanceUID}`;
    if (!this.since.has(key)) this.since.set(key, performance.now());
    const waited = performance.now() - this.since.get(key);
    const known = this.errors.length > 0;
    this.say(viewportId, waited > VERY_LATE_MS || (known && waited > LATE_MS) ? reason(first, this.errors) : null);
  }

  /** Lay our results over a series that has just been drawn, once. */
  async show(viewportId, displaySet, sets) {
    for (const segmentation of results(sets, displaySet.SeriesInstanceUID)) {
      const key = `${viewportId} ${segmentation.displaySetInstanceUID}`;
      if (this.shown.has(key)) continue;
      this.shown.add(key);
      segmentation.referencedDisplaySetInstanceUID ??= displaySet.displaySetInstanceUID;
      try {
        await this.viewer.showSegmentation(segmentation);
      } catch (error) {
        this.viewer.tell(`${segmentation.SeriesDescription} could not be shown: ${error.message}`, 'error');
      }
    }
  }

  /** A message over a viewport (or the whole grid) instead of a blank; `null` takes it away. */
  say(where, sentence) {
    const before = this.messages.get(where);
    if ((before?.dataset.sentence ?? null) === sentence) return;
    before?.remove();
    this.messages.delete(where);
    const place = sentence && this.viewer.placeOf(where);
    if (!place) return;
    const link = h('a', { href: `/studies/${this.viewer.study}`, target: '_blank' }, 'What is known of the study');
    const box = h('div', { className: 'mp-message', role: 'alert', 'data-sentence': sentence }, h('p', {}, sentence), link);
    place.append(box);
    this.messages.set(where, box);
  }
}

const kinds = sets => [...new Set(sets.map(set => set.Modality))].sort().join(', ');
