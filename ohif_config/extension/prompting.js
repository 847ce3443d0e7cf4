/** Connects the prompt tools, the prompt service and the overlay, whether the panel is open or not. */

import { Overlay } from './overlay.js';
import { CLICK_MARK, toPrompt } from './tools.js';

const OVERLAY_LABEL = 'Prompt result';
const CLICK_MEASURE = 'minipacs: click to overlay';

export class PromptController {
  constructor(viewer, tools, session) {
    Object.assign(this, { viewer, tools, session, overlay: new Overlay(viewer) });
    tools.addEventListener('change', () => this.sendPrompts());
    session.addEventListener('answer', () => this.showAnswer());
  }

  /** Send the prompts that are drawn now. They belong to one series: those on another are removed. */
  sendPrompts() {
    const { annotations } = this.tools;
    if (!annotations.length) return this.session.setPrompts([]);

    if (!this.session.prompts.length) this.displaySet = this.viewer.getActiveViewport()?.displaySet;
    const { displaySet } = this;

    const onOtherSeries = annotations.filter(annotation => !this.isOnDisplaySet(annotation, displaySet));
    if (onOtherSeries.length) {
      this.viewer.notify('Accept or discard the prompts on the other series first.', 'warning');
      return this.tools.remove(onOtherSeries);
    }

    const findImage = (point, imageId) => {
      const isKnown = imageId && displaySet.imageIds.includes(imageId);
      return this.viewer.identifyImage(isKnown ? imageId : this.viewer.findNearestImage(displaySet, point));
    };
    const prompts = annotations.map(annotation => toPrompt(annotation, findImage));
    const window = this.viewer.readWindow(this.viewer.getActiveViewport().viewport);
    return this.session.setPrompts(prompts, displaySet.SeriesInstanceUID, window);
  }

  isOnDisplaySet({ metadata }, displaySet) {
    const { referencedImageId, FrameOfReferenceUID } = metadata;
    if (!referencedImageId) return FrameOfReferenceUID === displaySet.instances[0].FrameOfReferenceUID;
    return this.viewer.identifyImage(referencedImageId).series === displaySet.SeriesInstanceUID;
  }

  async showAnswer() {
    const { answer } = this.session;
    if (!answer) return this.overlay.remove();

    await this.overlay.show(answer, this.displaySet, OVERLAY_LABEL);
    // The overlay is on the screen when the frame after the next begins.
    requestAnimationFrame(() => requestAnimationFrame(() => measureClickToOverlay()));
  }

  /** Store the mask under a coded name, and show the stored segmentation in its place. */
  async accept(term) {
    const stored = await this.session.accept(term);
    this.tools.removeAll();

    const segmentation = await this.viewer.fetchSeries(stored.study_instance_uid, stored.series_instance_uid);
    await this.viewer.showSegmentation(segmentation);
    this.viewer.notify(`${term.label} is stored.`, 'success');
  }

  stop() {
    this.tools.removeAll();
    this.tools.stop();
  }
}

/** Write the time from the end of the last click to the overlay on the screen into the browser's timeline. */
function measureClickToOverlay() {
  if (performance.getEntriesByName(CLICK_MARK).length) {
    performance.measure(CLICK_MEASURE, CLICK_MARK);
    performance.clearMarks(CLICK_MARK);
  }
}
