/** A run-time extension of the stock OHIF 3.13 build, loaded without a rebuild: see docs/viewer.md. */

import { requestJson } from './api_client.js';
import { startDisplaySetFixes } from './display_set_fixes.js';
import { addStyleSheet, createReactComponent } from './dom.js';
import { EnginePanel } from './engine_panel.js';
import { JobWatch } from './jobs.js';
import { Viewer } from './ohif.js';
import { PromptPanel } from './prompt_panel.js';
import { PromptSession } from './prompt_session.js';
import { PromptController } from './prompting.js';
import { ResultsOnOpen } from './results_on_open.js';
import { Toolbar } from './toolbar.js';
import { PromptTools } from './tools.js';
import { ViewportMessages } from './viewport_messages.js';
import { startVoiLutFunctionFix } from './voi_lut_function_fix.js';

const STYLE_SHEET = new URL('panel.css', import.meta.url).href;

/** Everything that exists while a study is open. */
class OpenStudy {
  constructor(viewer) {
    this.viewer = viewer;
    this.fixes = [startVoiLutFunctionFix(), startDisplaySetFixes(viewer.services)];

    this.resultsOnOpen = new ResultsOnOpen(viewer);
    this.messages = new ViewportMessages(viewer);
    this.watch = new JobWatch(viewer.study, { requestJson, EventSource });
    this.watch.addEventListener('done', ({ detail: job }) => this.showFinishedJob(job));

    const tools = new PromptTools(viewer);
    this.prompting = new PromptController(viewer, tools, new PromptSession({ requestJson }));
    this.toolbar = new Toolbar(viewer, tools);

    this.parts = [this.resultsOnOpen, this.messages, this.watch, this.toolbar];
  }

  start() {
    for (const part of this.parts) part.start();
  }

  stop() {
    for (const part of [...this.parts, this.prompting]) part.stop();
    for (const endFix of this.fixes) endFix();
  }

  /** Show the segmentations of a finished job over the images; returns how many there are. */
  async showResults({ id, study }) {
    const { result } = await requestJson(`/jobs/${id}`);
    const segmentations = result?.segmentations ?? [];

    for (const { seg_series_instance_uid: series } of segmentations) {
      const displaySet = await this.viewer.fetchSeries(study, series);
      await this.viewer.showSegmentation(displaySet);
    }
    return segmentations.length;
  }

  async showFinishedJob(job) {
    if (job.kind !== 'segment') return;
    try {
      const count = await this.showResults(job);
      if (count) this.viewer.notify(job.summary || 'The segmentation is done.', 'success');
    } catch (error) {
      this.viewer.notify(`The result could not be shown: ${error.message}`, 'error');
    }
  }
}

/** The study that is open now, or `null`. */
let openStudy = null;

/** Fill the "Segment" panel. Returns a function that empties it. */
function mountPanel(container) {
  if (!openStudy) return () => {};

  const study = openStudy;
  const enginePanel = new EnginePanel(study.watch, requestJson, job => study.showResults(job));
  const promptPanel = new PromptPanel(study.prompting, requestJson);
  const unmountAll = [enginePanel.mount(container), promptPanel.mount(container)];
  return () => {
    for (const unmount of unmountAll) unmount();
    container.replaceChildren();
  };
}

export default {
  id: 'minipacs',
  version: '1.0.0',

  onModeEnter(managers) {
    const viewer = new Viewer(managers);
    if (!viewer.study) return;

    addStyleSheet(STYLE_SHEET);
    openStudy = new OpenStudy(viewer);
    openStudy.start();
  },

  onModeExit() {
    openStudy?.stop();
    openStudy = null;
  },

  getPanelModule() {
    return [
      {
        name: 'segment',
        iconName: 'icon-tool-click-segment',
        iconLabel: 'Segment',
        label: 'Segment',
        component: createReactComponent('minipacs-panel', mountPanel),
      },
    ];
  },
};
