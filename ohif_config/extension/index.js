/** A run-time extension of the stock OHIF 3.13 build: no rebuild. docs/viewer.md tells how it is loaded. */

import { automatic } from './automatic.js';
import { component, dress } from './dom.js';
import { nameFunctions } from './grey.js';
import { ask } from './http.js';
import { JobWatch } from './jobs.js';
import { Viewer } from './ohif.js';
import { Prompting, prompts } from './prompting.js';
import { Ready } from './ready.js';
import { PromptSession } from './session.js';
import { Toolbar } from './toolbar.js';
import { PromptTools } from './tools.js';

const here = name => new URL(name, import.meta.url).href;

/** What lives while a study is open. */
const open = { viewer: null, watch: null, prompting: null, toolbar: null, ready: null, endGrey: null };

/** Lay the results of a finished job over the images. */
async function show({ id, study }) {
  const { result } = await ask(`/jobs/${id}`);
  const made = result?.segmentations ?? [];
  for (const { seg_series_instance_uid: series } of made) {
    const segmentation = await open.viewer.fetchSeries(study, series);
    await open.viewer.showSegmentation(segmentation);
  }
  return made.length;
}

async function appear({ detail: job }) {
  if (job.kind !== 'segment') return;
  try {
    if (await show(job)) open.viewer.tell(job.summary || 'The segmentation is done.', 'success');
  } catch (error) {
    open.viewer.tell(`The result could not be shown: ${error.message}`, 'error');
  }
}

export default {
  id: 'minipacs',
  version: '1.0.0',

  onModeEnter(managers) {
    open.viewer = new Viewer(managers);
    if (!open.viewer.study) return;
    dress(here('panel.css'));
    open.endGrey = nameFunctions();
    open.ready = new Ready(open.viewer);
    open.ready.start();
    open.watch = new JobWatch(open.viewer.study, { ask, EventSource });
    open.watch.addEventListener('done', appear);
    open.watch.start();
    const tools = new PromptTools(open.viewer);
    open.prompting = new Prompting(open.viewer, tools, new PromptSession({ ask }));
    open.toolbar = new Toolbar(open.viewer, tools);
    open.toolbar.start();
  },

  onModeExit() {
    open.watch?.stop();
    open.toolbar?.stop();
    open.prompting?.stop();
    open.ready?.stop();
    open.endGrey?.();
    Object.assign(open, { watch: null, prompting: null, toolbar: null, ready: null, endGrey: null });
  },

  getPanelModule() {
    const mount = node => {
      if (!open.watch) return () => {};
      const ends = [automatic(node, open.watch, show), prompts(node, open.prompting, ask)];
      return () => {
        ends.forEach(end => end());
        node.replaceChildren();
      };
    };
    return [
      {
        name: 'segment',
        iconName: 'icon-tool-click-segment',
        iconLabel: 'Segment',
        label: 'Segment',
        component: component('minipacs-panel', mount),
      },
    ];
  },
};
