/** When a study is opened, minipacs' own segmentations are shown over their series without a click. */

import { DERIVED_MODALITIES } from './ohif.js';

const MANUFACTURER = 'minipacs';
const CHECK_INTERVAL_MS = 400;

const creationTime = set => [set.SeriesDate, set.SeriesTime, set.SOPInstanceUID].map(part => part ?? '').join(' ');

/** The segmentations that minipacs made of a series: the newest of each series description. */
export function findNewestResults(displaySets, seriesInstanceUid) {
  const newest = new Map();

  for (const set of displaySets) {
    if (set.Modality !== 'SEG' || set.instance?.Manufacturer !== MANUFACTURER) continue;
    if (set.referencedSeriesInstanceUID !== seriesInstanceUid) continue;

    const known = newest.get(set.SeriesDescription);
    if (!known || creationTime(set) > creationTime(known)) newest.set(set.SeriesDescription, set);
  }
  return [...newest.values()];
}

/** Shows the results of each series once in each viewport, as soon as the series has been drawn there. */
export class ResultsOnOpen {
  constructor(viewer) {
    this.viewer = viewer;
    this.shownKeys = new Set();
  }

  start() {
    this.timer = setInterval(() => this.checkViewports(), CHECK_INTERVAL_MS);
  }

  stop() {
    clearInterval(this.timer);
  }

  checkViewports() {
    const { viewportGridService, displaySetService } = this.viewer.services;
    const displaySets = displaySetService.getActiveDisplaySets();

    for (const viewportId of viewportGridService.getState().viewports.keys()) {
      const displaySet = this.viewer.firstDisplaySetOf(viewportId);
      if (!displaySet || DERIVED_MODALITIES.has(displaySet.Modality)) continue;

      if (this.viewer.hasImages(displaySet) && this.viewer.isDrawn(viewportId)) {
        this.showResults(viewportId, displaySet, displaySets);
      }
    }
  }

  async showResults(viewportId, displaySet, displaySets) {
    for (const segmentation of findNewestResults(displaySets, displaySet.SeriesInstanceUID)) {
      const key = `${viewportId} ${segmentation.displaySetInstanceUID}`;
      if (this.shownKeys.has(key)) continue;

      this.shownKeys.add(key);
      segmentation.referencedDisplaySetInstanceUID ??= displaySet.displaySetInstanceUID;
      try {
        await this.viewer.showSegmentation(segmentation);
      } catch (error) {
        this.viewer.notify(`${segmentation.SeriesDescription} could not be shown: ${error.message}`, 'error');
      }
    }
  }
}
