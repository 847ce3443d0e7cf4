/** The answer of the prompt service over the images: a labelmap of Cornerstone's, filled from runs of pixels. */

export const RESULT = 'minipacs-prompt';
const COLOR = [60, 220, 255, 255];

/** Write runs `[start, length, …]` (row-major pixel indices) into a slice's array; the rest becomes 0. */
export function fill(array, runs) {
  array.fill(0);
  for (let i = 0; i < runs.length; i += 2) array.fill(1, runs[i], runs[i] + runs[i + 1]);
}

export class Overlay {
  constructor(viewer, tools = window.cornerstoneTools, core = window.cornerstone) {
    Object.assign(this, { viewer, tools, core });
    this.filled = new Set();
  }

  /** Show this answer over a display set's images. */
  async show(answer, displaySet, name) {
    await this.make(displaySet, name);
    const wanted = new Map(answer.slices.map(slice => [`${slice.sop_instance_uid}/${slice.frame}`, slice.runs]));
    const { imageIds, referencedImageIds } = this.labelmap();
    const touched = [];
    referencedImageIds.forEach((imageId, index) => {
      const { sopInstanceUid, frame } = this.viewer.imageOf(imageId);
      const runs = wanted.get(`${sopInstanceUid}/${frame}`);
      if (!runs && !this.filled.has(index)) return;
      this.write(imageIds[index], runs ?? []);
      runs ? this.filled.add(index) : this.filled.delete(index);
      touched.push(index);
    });
    const { triggerSegmentationDataModified } = this.tools.segmentation.triggerSegmentationEvents;
    triggerSegmentationDataModified(RESULT, touched, 1);
  }

  labelmap() {
    return this.tools.segmentation.state.getSegmentation(RESULT).representationData.Labelmap;
  }

  write(imageId, runs) {
    const { voxelManager } = this.core.cache.getImage(imageId);
    const array = voxelManager.getScalarData();
    fill(array, runs);
    voxelManager.setScalarData?.(array);
  }

  /** The labelmap, on every viewport that shows the display set. */
  async make(displaySet, name) {
    const { segmentationService } = this.viewer.services;
    if (this.of !== displaySet.displaySetInstanceUID) this.remove();
    if (!segmentationService.getSegmentation(RESULT)) {
      const segments = { 1: { label: name, active: true } };
      await segmentationService.createLabelmapForDisplaySet(displaySet, { segmentationId: RESULT, label: name, segments });
      this.of = displaySet.displaySetInstanceUID;
      this.statistics(false);
    }
    for (const viewportId of this.viewer.showing(this.of)) {
      const there = segmentationService.getSegmentationRepresentations(viewportId, { segmentationId: RESULT });
      if (!there.length) {
        await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId: RESULT, type: 'Labelmap' });
        segmentationService.setSegmentColor(viewportId, RESULT, 1, COLOR);
      }
    }
  }

  /** Take it off, with its memory. */
  remove() {
    const { segmentationService } = this.viewer.services;
    this.filled.clear();
    this.of = null;
    if (segmentationService.getSegmentation(RESULT)) {
      segmentationService.remove(RESULT);
      this.statistics(true);
    }
  }

  /** OHIF reads every slice after every change to count a segment's voxels: not while prompts are given. */
  statistics(on) {
    const { customizationService } = this.viewer.services;
    customizationService.setCustomizations({ 'panelSegmentation.disableUpdateSegmentationStats': { $set: !on } });
  }
}
