/** The mask that the prompt service answers with, over the images: a Cornerstone labelmap. */

const SEGMENTATION_ID = 'minipacs-prompt';
const COLOR = [60, 220, 255, 255];

/** Write runs `[start, length, …]` (row-major pixel indices) as 1 into a slice's array; all other pixels become 0. */
export function writeRuns(array, runs) {
  array.fill(0);
  for (let i = 0; i < runs.length; i += 2) array.fill(1, runs[i], runs[i] + runs[i + 1]);
}

export class Overlay {
  constructor(viewer, tools = window.cornerstoneTools, core = window.cornerstone) {
    Object.assign(this, { viewer, tools, core });
    /** Indices of the slices that are not empty. */
    this.filledSlices = new Set();
    this.displaySetInstanceUID = null;
  }

  /** Show the mask of this answer over the images of a display set; `label` names it in OHIF's list. */
  async show(answer, displaySet, label) {
    await this.createLabelmap(displaySet, label);

    const runsOf = new Map(answer.slices.map(slice => [`${slice.sop_instance_uid}/${slice.frame}`, slice.runs]));
    const { imageIds, referencedImageIds } = this.getLabelmap();
    const changedSlices = [];

    referencedImageIds.forEach((imageId, index) => {
      const { sopInstanceUid, frame } = this.viewer.identifyImage(imageId);
      const runs = runsOf.get(`${sopInstanceUid}/${frame}`);
      if (!runs && !this.filledSlices.has(index)) return;

      this.writeSlice(imageIds[index], runs ?? []);
      if (runs) this.filledSlices.add(index);
      else this.filledSlices.delete(index);
      changedSlices.push(index);
    });

    const { triggerSegmentationDataModified } = this.tools.segmentation.triggerSegmentationEvents;
    triggerSegmentationDataModified(SEGMENTATION_ID, changedSlices, 1);
  }

  getLabelmap() {
    return this.tools.segmentation.state.getSegmentation(SEGMENTATION_ID).representationData.Labelmap;
  }

  writeSlice(imageId, runs) {
    const { voxelManager } = this.core.cache.getImage(imageId);
    const array = voxelManager.getScalarData();
    writeRuns(array, runs);
    voxelManager.setScalarData?.(array);
  }

  /** Create the labelmap, unless it exists, and add it to every viewport that shows the display set. */
  async createLabelmap(displaySet, label) {
    const { segmentationService } = this.viewer.services;
    if (this.displaySetInstanceUID !== displaySet.displaySetInstanceUID) this.remove();

    if (!segmentationService.getSegmentation(SEGMENTATION_ID)) {
      const options = { segmentationId: SEGMENTATION_ID, label, segments: { 1: { label, active: true } } };
      await segmentationService.createLabelmapForDisplaySet(displaySet, options);
      this.displaySetInstanceUID = displaySet.displaySetInstanceUID;
      this.enableStatistics(false);
    }

    for (const viewportId of this.viewer.viewportIdsOf(this.displaySetInstanceUID)) {
      await this.addToViewport(viewportId);
    }
  }

  async addToViewport(viewportId) {
    const { segmentationService } = this.viewer.services;
    const segmentationId = SEGMENTATION_ID;
    if (segmentationService.getSegmentationRepresentations(viewportId, { segmentationId }).length) return;

    await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type: 'Labelmap' });
    segmentationService.setSegmentColor(viewportId, segmentationId, 1, COLOR);
  }

  /** Remove the labelmap and free its memory. */
  remove() {
    const { segmentationService } = this.viewer.services;
    this.filledSlices.clear();
    this.displaySetInstanceUID = null;

    if (segmentationService.getSegmentation(SEGMENTATION_ID)) {
      segmentationService.remove(SEGMENTATION_ID);
      this.enableStatistics(true);
    }
  }

  /** OHIF counts a segment's voxels after every change by reading every slice: too slow while prompts are given. */
  enableStatistics(isEnabled) {
    const { customizationService } = this.viewer.services;
    customizationService.setCustomizations({
      'panelSegmentation.disableUpdateSegmentationStats': { $set: !isEnabled },
    });
  }
}
